"""The page on which files are handed over: with JavaScript one by one beforehand, without it with the form."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from batches import ocr, services
from batches.drafts import drafts_of
from batches.errors import BadPreset, OcrError, Unfinished
from batches.forms import NewBatchForm
from batches.limits import check_room, uploads_limited
from batches.models import Batch, Upload
from batches.presets import save_preset

DRAFTS_SHOWN = 5


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
@uploads_limited
def batch_new(request: HttpRequest) -> HttpResponse:
    """Hand over files, or go on with a draft (`?draft=<uuid>`); on to the live page once it is started."""
    assert isinstance(request.user, User)
    key = request.POST.get("submission") if request.method == "POST" else request.GET.get("draft")
    draft = _uuid(key or "")
    if batch := services.submitted(request.user, draft):
        return _lead_to(batch)
    try:
        form = _form(request, request.user, draft)
        if request.method == "POST" and form.is_valid():
            try:
                return _lead_to(_create(request, request.user, form))
            except Unfinished as error:
                form.add_error(None, str(error))
    except OcrError as error:
        return render(request, "batches/unavailable.html", {"error": error}, status=503)
    if batch := services.submitted(request.user, draft):  # meanwhile, by the same form sent twice
        return _lead_to(batch)
    drafts = [] if draft else drafts_of(request.user)[:DRAFTS_SHOWN]
    context = {"form": form, "limits": _limits(request.user), "drafts": drafts}
    return render(request, "batches/new.html", context)


def _lead_to(batch: Batch) -> HttpResponse:
    """To the live page; first to the page where presets are tried, if that is what it waits for."""
    return redirect("batches:try", batch.pk) if batch.held else redirect(batch)


def _create(request: HttpRequest, owner: User, form: NewBatchForm) -> Batch:
    name, files = form.cleaned_data["name"], form.cleaned_data["files"]
    submission = form.cleaned_data["submission"]
    batch = services.create_batch(
        owner,
        name,
        files,
        form.options(),
        submission,
        preset=form.preset_name(),
        held=form.cleaned_data["hold"],
    )
    if preset := form.cleaned_data["save_as"]:
        try:  # afterwards: a batch that cannot be made must not leave a preset in the way of the next try
            save_preset(owner, preset, form.to_be_saved())
        except BadPreset as error:
            messages.error(request, str(error))
    return batch


def _form(request: HttpRequest, owner: User, draft: UUID | None) -> NewBatchForm:
    return NewBatchForm(
        request.POST or None,
        request.FILES or None,
        initial={"submission": draft} if draft else None,
        owner=owner,
        languages=ocr.probe(settings.OCR_ENGINE).languages,
        max_bytes=settings.MAX_FILE_BYTES,
        draft=list(Upload.objects.of_draft(owner, draft)) if draft else [],
        latest=_latest_preset(owner),
    )


def _latest_preset(owner: User) -> str:
    """The name of the preset that the owner's batch before was read with; empty where there is none."""
    latest = owner.batches.order_by("-created").values_list("preset", flat=True).first()
    return latest or ""


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _limits(owner: User) -> dict[str, Any]:
    """What is told before an upload, and whether there is room for a batch at all."""
    try:
        check_room(owner)
        full = ""
    except OcrError as error:
        full = str(error)
    return {
        "files": settings.MAX_FILES_PER_UPLOAD,
        "bytes": settings.MAX_FILE_BYTES,
        "together": settings.MAX_BATCH_BYTES,
        "body": settings.MAX_BODY_BYTES,
        "piece": settings.UPLOAD_PIECE_BYTES,
        "pages": settings.MAX_PAGES_PER_BATCH,
        "megapixels": settings.MAX_PAGE_PIXELS // 10**6,
        "unpacked": settings.MAX_ZIP_BYTES,
        "ratio": settings.MAX_ZIP_RATIO,
        "batches": settings.MAX_BATCHES_PER_USER,
        "full": full,
    }
