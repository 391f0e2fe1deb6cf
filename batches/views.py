"""The pages that a browser shows. Who may see what is decided in `visible_to`; all else is 404."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_POST, require_safe

from batches import ocr, services
from batches.errors import OcrError
from batches.events import events_after, page_state, snapshot
from batches.exports.text import stream_page_texts
from batches.forms import NewBatchForm
from batches.health import readiness
from batches.models import Batch, Page, SourceFile

BATCHES_A_PAGE = 50
RECENT_PAGES = 20  # in the live page's feed
FAILURES_SHOWN = 200
EVENTS_A_POLL = 500


def _batch(request: HttpRequest, pk: UUID) -> Batch:
    return get_object_or_404(Batch.objects.visible_to(request.user), pk=pk)


def _commanded(request: HttpRequest, pk: UUID, permission: str) -> Batch:
    """The batch, for a command: staff see everybody's, but need the permission to change it."""
    batch = _batch(request, pk)
    if batch.owner_id != request.user.pk and not request.user.has_perm(f"batches.{permission}"):
        raise PermissionDenied
    return batch


def _page(request: HttpRequest, pk: UUID, number: int) -> Page:
    pages = Page.objects.select_related("batch", "source")
    return get_object_or_404(pages, batch=_batch(request, pk), number=number)


@login_required
@require_safe
def batch_list(request: HttpRequest) -> HttpResponse:
    """The user's batches, newest first."""
    batches = Batch.objects.visible_to(request.user).select_related("owner")
    page = Paginator(batches, BATCHES_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "batches/list.html", {"page": page})


@login_required
def batch_new(request: HttpRequest) -> HttpResponse:
    """Hand over files; on to the live page at once."""
    assert isinstance(request.user, User)
    try:
        form = NewBatchForm(
            request.POST or None,
            request.FILES or None,
            languages=ocr.probe().languages,
            max_bytes=settings.MAX_FILE_BYTES,
        )
        if request.method == "POST" and form.is_valid():
            files = form.cleaned_data["files"]
            batch = services.create_batch(request.user, form.cleaned_data["name"], files, form.options())
            return redirect(batch)
    except OcrError as error:
        return render(request, "batches/unavailable.html", {"error": error}, status=503)
    limits = {"bytes": settings.MAX_FILE_BYTES, "files": settings.MAX_FILES_PER_UPLOAD}
    return render(request, "batches/new.html", {"form": form, "limits": limits})


@login_required
@require_safe
def batch_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The live page. What is drawn here is as of `snapshot.seq`; the socket goes on from there."""
    batch = _batch(request, pk)
    pages = batch.pages.select_related("source")
    context = {
        "batch": batch,
        "snapshot": snapshot(batch),
        "recent": pages.filter(status=Page.Status.SUCCEEDED).order_by("-claimed_at")[:RECENT_PAGES],
        "failures": pages.filter(status=Page.Status.FAILED)[:FAILURES_SHOWN],
        "hints": batch.files.exclude(note="")[:FAILURES_SHOWN],
        "rejected": batch.files.filter(status=SourceFile.Status.REJECTED)[:FAILURES_SHOWN],
    }
    return render(request, "batches/detail.html", context)


@login_required
@require_safe
def batch_events(request: HttpRequest, pk: UUID) -> JsonResponse:
    """The socket's snapshot and events by plain HTTP, for where sockets are blocked."""
    batch = _batch(request, pk)
    after = request.GET.get("after", "")
    if not (after.isascii() and after.isdigit() and len(after) < 10):
        return JsonResponse(
            {"error": "Give ?after=<seq>, the number of the last event you have."}, status=400
        )
    events = events_after(batch.pk, int(after), EVENTS_A_POLL)
    return JsonResponse({"snapshot": snapshot(batch), "events": events})


@login_required
@require_safe
def batch_text(request: HttpRequest, pk: UUID) -> StreamingHttpResponse:
    """All text of the batch as one file."""
    batch = _batch(request, pk)
    response = StreamingHttpResponse(
        stream_page_texts(batch.pages.all()), content_type="text/plain; charset=utf-8"
    )
    name = slugify(batch.name) or "batch"  # ASCII letters, digits and dashes: safe in a header
    response["Content-Disposition"] = f'attachment; filename="{name}.txt"'
    return response


@login_required
@require_POST
def batch_cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Stop reading; what is done is kept."""
    batch = _commanded(request, pk, "change_batch")
    if not services.cancel_batch(batch):
        messages.info(request, "There was nothing to cancel: the batch had ended, or is being cancelled.")
    return redirect(batch)


@login_required
@require_POST
def batch_retry(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Read again what failed or was cancelled."""
    batch = _commanded(request, pk, "change_batch")
    if not services.retry_batch(batch):
        messages.info(request, "There is nothing to retry.")
    return redirect(batch)


@login_required
@require_POST
def batch_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Remove the batch with all its files; one that is being read is cancelled first."""
    batch = _commanded(request, pk, "delete_batch")
    services.delete_batch(batch)
    messages.success(request, f"“{batch.name}” was deleted.")
    return redirect("batches:list")


@login_required
@require_safe
def page_detail(request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
    """One page: its image beside its text."""
    page = _page(request, pk, number)
    context = {
        "batch": page.batch,
        "page": page,
        "state": page_state(page),
        "has_image": page.image_path.exists(),
        "previous": number - 1 if number > 1 else None,
        "next": number + 1 if number < page.batch.total else None,
    }
    return render(request, "batches/page.html", context)


@login_required
@require_safe
def page_image(request: HttpRequest, pk: UUID, number: int) -> HttpResponseBase:
    """The page's image: the one that we wrote, never the uploaded bytes."""
    page = _page(request, pk, number)
    try:
        content = page.image_path.read_bytes()
    except FileNotFoundError as error:
        raise Http404("There is no image of this page yet.") from error
    response = HttpResponse(content, content_type="image/jpeg")
    response["Cache-Control"] = "private, max-age=3600"
    return response


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process is up."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Everything that reading needs is there; 503 and its name where something is not. Staff see details."""
    states = readiness()
    ready = all(state.there for state in states.values())
    told = {name: state.detail if request.user.is_staff else state.word for name, state in states.items()}
    return JsonResponse({"ready": ready} | told, status=200 if ready else 503)
