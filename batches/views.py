"""The pages that a browser shows. Who may see what is decided in `visible_to`; all else is 404."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
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
from django.views.decorators.http import require_POST, require_safe

from batches import ocr, services
from batches.access import commanded_batch, visible_batch
from batches.errors import OcrError
from batches.events import events_after, page_state, snapshot
from batches.exports.text import stream_page_texts
from batches.files import chunks_of
from batches.forms import RetryForm
from batches.health import readiness
from batches.models import Batch, Page, SourceFile
from batches.names import attachment
from batches.ocr.presets import in_words
from batches.pictures import picture
from batches.problems import problems_of
from batches.stages import STAGES

BATCHES_A_PAGE = 50
RECENT_PAGES = 20  # in the live page's feed
HINTS_SHOWN = 200

NOTHING_TO_RETRY = "There is nothing to retry: it has been read, or is being read again."
LOOKING = "Its files are still being looked at. Retry once they are being read."
NOT_YET = {
    Batch.Status.QUEUED: LOOKING,
    Batch.Status.PREPARING: LOOKING,
    Batch.Status.CANCELLING: "It is being cancelled. Retry once that is done.",
}
EVENTS_A_POLL = 500


def _page(request: HttpRequest, pk: UUID, number: int) -> Page:
    pages = Page.objects.select_related("batch", "source")
    return get_object_or_404(pages, batch=visible_batch(request, pk), number=number)


@login_required
@require_safe
def batch_list(request: HttpRequest) -> HttpResponse:
    """The user's batches, newest first."""
    batches = Batch.objects.visible_to(request.user).select_related("owner")
    page = Paginator(batches, BATCHES_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "batches/list.html", {"page": page})


@login_required
@require_safe
def batch_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The live page. What is drawn here is as of `snapshot.seq`; the socket goes on from there."""
    batch = visible_batch(request, pk)
    pages = batch.pages.select_related("source")
    context = {
        "batch": batch,
        "snapshot": snapshot(batch),
        "recent": pages.filter(status=Page.Status.SUCCEEDED).order_by("-claimed_at")[:RECENT_PAGES],
        "reading": in_words(batch.options),
        "hints": batch.files.exclude(note="")[:HINTS_SHOWN],
        "engines": batch.pages.engines(),
        "stages": _stages(batch) if request.user.is_staff else [],
    } | _problems(batch)
    return render(request, "batches/detail.html", context)


def _stages(batch: Batch) -> list[tuple[str, float, float]]:
    """Where the time of a page goes: each stage, its seconds and its percentage of them all."""
    seconds = batch.pages.mean_seconds()
    together = sum(seconds.values()) or 1.0
    return [(STAGES[stage], mean, 100 * mean / together) for stage, mean in seconds.items()]


@login_required
@require_safe
def batch_problems(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The live page's problems, as a piece of it: asked for anew when there is another."""
    batch = visible_batch(request, pk)
    return render(request, "batches/problems.html", {"batch": batch} | _problems(batch))


def _problems(batch: Batch) -> dict[str, Any]:
    problems = problems_of(batch)
    return {"problems": problems, "retry_form": _retry_form() if problems else None}


def _retry_form() -> RetryForm | None:
    try:
        return RetryForm(languages=ocr.probe(settings.OCR_ENGINE).languages)
    except OcrError:
        return None  # without an engine nothing can be read again; the page says why all the same


@login_required
@require_safe
def batch_events(request: HttpRequest, pk: UUID) -> JsonResponse:
    """The socket's snapshot and events by plain HTTP, for where sockets are blocked."""
    batch = visible_batch(request, pk)
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
    batch = visible_batch(request, pk)
    response = StreamingHttpResponse(
        stream_page_texts(batch.pages.all()), content_type="text/plain; charset=utf-8"
    )
    response["Content-Disposition"] = attachment(f"{batch.name}.txt")
    return response


@login_required
@require_POST
def batch_cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Stop reading; what is done is kept."""
    nothing = "There was nothing to cancel: the batch had ended, or is being cancelled."
    return _command(request, pk, services.cancel_batch, nothing)


@login_required
@require_POST
def batch_pause(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Start no more pages, until it is resumed."""
    return _command(
        request, pk, services.pause_batch, "There was nothing to pause: the batch is not running."
    )


@login_required
@require_POST
def batch_resume(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Go on with a paused batch."""
    return _command(
        request, pk, services.resume_batch, "There was nothing to resume: the batch is not paused."
    )


def _command(request: HttpRequest, pk: UUID, command: Callable[[Batch], bool], nothing: str) -> HttpResponse:
    """Do it, or tell that there was `nothing` to do."""
    batch = commanded_batch(request, pk, "change_batch")
    if not command(batch):
        messages.info(request, nothing)
    return redirect(batch)


@login_required
@require_POST
def batch_retry(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Read again what failed or was cancelled: all of it, the pages chosen, or those of one reason."""
    batch = commanded_batch(request, pk, "change_batch")
    try:
        form = RetryForm(request.POST, languages=ocr.probe(settings.OCR_ENGINE).languages)
        if form.is_valid():
            options = form.options(batch.reading_options())
            if not services.retry_batch(batch, form.which(), options=options):
                messages.info(request, NOT_YET.get(Batch.Status(batch.status), NOTHING_TO_RETRY))
        else:
            told = [str(error) for error in form.non_field_errors()]
            messages.error(request, " ".join(told) or "Choose from what the page offers.")
    except OcrError as error:
        messages.error(request, str(error))
    return redirect(batch)


@login_required
@require_POST
def batch_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Remove the batch with all its files; one that is being read is cancelled first."""
    batch = commanded_batch(request, pk, "delete_batch")
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
        "retry_form": _retry_form() if page.status in services.UNREAD else None,
        "previous": number - 1 if number > 1 else None,
        "next": number + 1 if number < page.batch.total else None,
    }
    return render(request, "batches/page.html", context)


@login_required
@require_safe
def page_image(request: HttpRequest, pk: UUID, number: int) -> HttpResponseBase:
    """The page's image: the one that we wrote, never the uploaded bytes."""
    return picture(_page(request, pk, number).image_path)


@login_required
@require_safe
def file_original(request: HttpRequest, pk: UUID, number: int, member: int = 0) -> StreamingHttpResponse:
    """A file as it was handed over, or as it came out of an archive: to be kept, never to be shown, for nobody knows what is in it."""
    source = get_object_or_404(SourceFile, batch=visible_batch(request, pk), position=number, member=member)
    if not source.path.exists():
        raise Http404("The uploaded file is no longer there.")
    response = StreamingHttpResponse(chunks_of(source.path), content_type="application/octet-stream")
    response["Content-Length"] = source.size
    response["Content-Disposition"] = attachment(source.name)
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
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
