"""Reading a page on trial: like any page, but nothing of the page changes."""

import logging
import time
from functools import partial
from pathlib import Path

from django.conf import settings

from batches.errors import OcrError
from batches.models import Page, Trial
from batches.ocr import PageResult
from batches.tasks.leases import kept
from batches.tasks.outcomes import as_told
from batches.tasks.reading import InHand, keep_image, private_folder, recognise, saved

logger = logging.getLogger(__name__)


def may_be_tried() -> bool:
    """Whether a trial may go before the pages that wait: a person waits for it.

    Not in all slots at once: whoever tries again and again must not keep others' pages from being read.
    """
    running = Trial.objects.filter(status=Trial.Status.RUNNING).count()
    return running < max(1, settings.WORKER_SLOTS // 2) or not Page.objects.waiting().exists()


def try_out(trial: Trial) -> None:
    """Read the trial's page and keep what came of it, unless it is gone or another attempt's by then."""
    with private_folder(f"trial-{trial.pk}-{trial.attempt}-") as folder:
        in_hand = InHand(trial, folder)
        with kept(in_hand.renew, in_hand.stop):
            started = time.monotonic()
            outcome = _read(trial, folder)
            seconds = round(time.monotonic() - started, 2)
    if not saved(partial(_settle, trial, outcome, seconds)):
        _remove_leftovers(trial)
        logger.info("The result of attempt %s at trial %s is not wanted any more", trial.attempt, trial.pk)


def _read(trial: Trial, folder: Path) -> PageResult | OcrError:
    try:
        result = recognise(trial.page, trial.reading_options(), folder, anew=True)
        if trial.side == 1:
            keep_image(folder, trial.image_path)
        return result
    except Exception as error:
        return as_told(error, f"Trying page {trial.page_id}")


def _remove_leftovers(trial: Trial) -> None:
    """What was written for a trial that was removed meanwhile goes too; another attempt's stays."""
    if not Trial.objects.filter(pk=trial.pk).exists():
        trial.image_path.unlink(missing_ok=True)
        trial.batch.remove_if_deleted()


def _settle(trial: Trial, outcome: PageResult | OcrError, seconds: float) -> bool:
    return trial.fail(outcome) if isinstance(outcome, OcrError) else trial.succeed(outcome, seconds)
