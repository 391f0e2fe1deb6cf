"""What came of a page: saved, counted and told in one short transaction."""

import logging

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, transaction

from batches.errors import NO_SPACE, EngineTimeout, NoSpace, OcrError, OutOfMemory
from batches.events import Change, change, publish
from batches.models import Batch, Page
from batches.ocr import PageResult

logger = logging.getLogger(__name__)


def settle(page: Page, outcome: PageResult | OcrError | None) -> bool:
    """End the page (None: dropped, its batch was cancelled), count it, end the batch if it was the last, tell.

    False: the page is not this attempt's to end; nothing has changed.
    """
    with transaction.atomic():
        batch = Batch.objects.locked_if_there(page.batch_id)
        if batch is None or not _end(page, outcome):
            return False
        if page.batch.options != batch.options:  # another preset was chosen while the page was in hand
            batch.pages.filter(pk=page.pk).keep_options(page.batch.options)
        batch.page_has_ended(page.status)
        match page.status:
            case Page.Status.SUCCEEDED:
                told = [change(batch, "page.succeeded", page)]
            case Page.Status.FAILED:
                told = [change(batch, "page.failed", page)]
            case _:
                told = []
        publish(batch, *told, *end_if_done(batch))
        return True


def _end(page: Page, outcome: PageResult | OcrError | None) -> bool:
    match outcome:
        case PageResult():
            return page.succeed(outcome)
        case OcrError():
            return page.fail(outcome)
        case None:
            return page.drop()


def end_if_done(batch: Batch) -> list[Change]:
    """What there is to tell if this ended the batch. Under the row's lock, so that it is told once."""
    return [status_change(batch)] if batch.end_if_done() else []


def status_change(batch: Batch) -> Change:
    match batch.status:
        case Batch.Status.RUNNING:
            return change(batch, "batch.running")
        case Batch.Status.PAUSED:
            return change(batch, "batch.paused")
        case Batch.Status.COMPLETED:
            return change(batch, "batch.completed")
        case Batch.Status.CANCELLED:
            return change(batch, "batch.cancelled")
        case _:
            return change(batch, "batch.failed")


def as_told(error: Exception, what: str) -> OcrError:
    """Whatever went wrong, as an error that a user understands; what nobody expected goes to the log."""
    match error:
        case DatabaseError():
            raise error  # not the page's fault: the lease runs out and another worker goes on
        case OcrError():
            return error
        case SoftTimeLimitExceeded():
            return EngineTimeout()
        case MemoryError():
            return OutOfMemory()
        case OSError() if error.errno in NO_SPACE:
            return NoSpace()
        case _:
            logger.error("%s failed", what, exc_info=error)
            return OcrError()
