"""The page on which two presets are tried on some pages of a batch, and one of them is chosen."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from batches import ocr, services
from batches.access import commanded_batch, visible_batch
from batches.comparison import comparison_of
from batches.errors import OcrError
from batches.forms import TrialForm
from batches.models import Batch, Trial
from batches.ocr import NamedOptions, Options
from batches.pictures import picture

TOO_LATE = "There is nothing left to try: the batch has ended, or is being cancelled."


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def trial_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Choose pages and presets; see what came of those chosen last."""
    if request.method == "POST":
        return _try(request, commanded_batch(request, pk, "change_batch"))
    batch = visible_batch(request, pk)
    if batch.status not in Batch.OPEN:
        messages.info(request, TOO_LATE)
        return redirect(batch)
    return _show(request, batch, TrialForm(batch=batch, initial=_tried_before(batch)))


def _try(request: HttpRequest, batch: Batch) -> HttpResponse:
    form = TrialForm(request.POST, batch=batch)
    if not form.is_valid():
        return _show(request, batch, form)
    try:
        engine = ocr.probe(settings.OCR_ENGINE)
        presets = [(preset.name, _options(batch, preset, engine)) for preset in form.chosen()]
        if services.try_presets(batch, form.cleaned_data["pages"], presets):
            return redirect("batches:try", batch.pk)
    except OcrError as error:
        form.add_error(None, str(error))
        return _show(request, batch, form)
    messages.info(request, TOO_LATE)
    return redirect(batch)


def _options(batch: Batch, preset: NamedOptions, engine: ocr.Engine) -> Options:
    # As in the form for a new batch: a preset's own languages take the place of those chosen before.
    chosen = () if preset.languages else batch.reading_options().languages
    languages = preset.with_languages(chosen, engine.languages)
    engine.check_languages(languages)
    return preset.options(languages)


def _tried_before(batch: Batch) -> dict[str, Any]:
    """What is compared at present, as the form has it, where those presets are still there."""
    keys = {preset.name: preset.key for preset in TrialForm(batch=batch).presets.values()}
    tried = list(batch.trials.values_list("page__number", "side", "preset"))
    chosen = {("first", "second")[side - 1]: keys[name] for _, side, name in tried if name in keys}
    pages = ", ".join(str(number) for number in sorted({number for number, _, _ in tried}))
    return chosen | ({"pages": pages} if pages else {})


def _show(request: HttpRequest, batch: Batch, form: TrialForm) -> HttpResponse:
    return render(request, "batches/try.html", {"form": form} | _results(batch))


@login_required
@require_safe
def trial_results(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What has come of the trials so far, as a piece of their page: asked for anew while any is open."""
    return render(request, "batches/try_results.html", _results(visible_batch(request, pk)))


def _results(batch: Batch) -> dict[str, Any]:
    return {
        "batch": batch,
        "looking": batch.status in (Batch.Status.QUEUED, Batch.Status.PREPARING),
        "comparison": comparison_of(batch),
        "left": batch.total - batch.current,
    }


@login_required
@require_safe
def trial_image(request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
    """The page that is tried, as its first reading has opened it."""
    trial = get_object_or_404(Trial, batch=visible_batch(request, pk), pk=number)
    response = picture(trial.image_path)
    response["Cache-Control"] = "private, max-age=3600, immutable"  # another reading is another trial
    return response


@login_required
@require_POST
def trial_use(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Read the batch as one of its trials was read, from now on."""
    batch = commanded_batch(request, pk, "change_batch")
    number = request.POST.get("trial", "")
    tried = batch.trials.filter(pk=number) if number.isascii() and number.isdigit() else Trial.objects.none()
    if not (trial := tried[:1].first() if len(number) < 18 else None):
        messages.error(request, "That is no longer what is compared: see what is, and choose again.")
        return redirect("batches:try", batch.pk)
    if services.use_preset(batch, trial.preset, trial.reading_options()):
        messages.success(request, _chosen(batch, trial.preset))
    else:
        messages.info(request, TOO_LATE)
    return redirect(batch)


def _chosen(batch: Batch, preset: str) -> str:
    read = f" The {batch.succeeded} read before stay as they are." if batch.succeeded else ""
    return f"“{preset}” is used for the pages that have not been read.{read}"
