"""Looking at a batch's files, some at a time, until its pages may be read."""

import logging
import time

from django.conf import settings
from django.db import DatabaseError, transaction

from batches import documents, ocr
from batches.documents import Document
from batches.errors import OcrError, WorkerLost
from batches.events import Change, change, publish
from batches.models import MAX_LOSSES, Batch, Page, SourceFile
from batches.tasks.outcomes import as_told, status_change
from batches.tasks.tokens import wake

logger = logging.getLogger(__name__)

PREPARE_SECONDS = 1.0  # how long files are looked at before others have their turn
PREPARE_FILES = 200  # and how many at the most, which bounds the transaction


def prepare(batch: Batch) -> None:
    """Look at some of the batch's files and tell of each; after the last one, let its pages be read."""
    try:
        if batch.status == Batch.Status.QUEUED:
            ocr.probe().check_languages(batch.reading_options().languages)
            _begin_preparation(batch)
        _record_files(batch, _inspect_files(batch))
    except DatabaseError:
        raise  # not the batch's fault: the lease runs out and another worker goes on
    except Batch.DoesNotExist:
        logger.info("Batch %s was deleted while it was being prepared", batch.pk)
    except OcrError as error:
        _fail_preparation(batch, error)
    except Exception:
        logger.exception("Preparing batch %s failed", batch.pk)
        _fail_preparation(batch, OcrError())
    else:
        wake()


def _begin_preparation(batch: Batch) -> None:
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        if locked.attempt == batch.attempt and locked.prepare():
            publish(locked, change(locked, "batch.preparing"))


def _fail_preparation(batch: Batch, error: OcrError) -> None:
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        if locked.attempt == batch.attempt and locked.fail(error):
            locked.count("cancelled", locked.pages.cancel_queued())  # of files accepted before
            publish(locked, change(locked, "batch.failed"))


def _inspect_files(batch: Batch) -> list[tuple[SourceFile, Document | OcrError]]:
    found: list[tuple[SourceFile, Document | OcrError]] = []
    deadline = time.monotonic() + PREPARE_SECONDS
    waiting = batch.files.filter(status=SourceFile.Status.QUEUED).order_by("position")
    # After a loss one at a time, so that the next loss is known to be this file's.
    for source in waiting[: 1 if batch.losses else PREPARE_FILES]:
        found.append((source, WorkerLost() if batch.losses >= MAX_LOSSES else _inspect(source)))
        if time.monotonic() > deadline:
            break
    return found


def _inspect(source: SourceFile) -> Document | OcrError:
    try:
        return documents.inspect(source.path, settings.MAX_PAGES_PER_BATCH)
    except Exception as error:
        return as_told(error, f"Looking at file {source.pk}")


def _record_files(batch: Batch, found: list[tuple[SourceFile, Document | OcrError]]) -> None:
    """Save what the files are, all in one short transaction, if the batch is still ours to prepare."""
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        if locked.status != Batch.Status.PREPARING or locked.attempt != batch.attempt:
            return
        changes = [_record_file(locked, source, outcome) for source, outcome in found]
        if locked.files.filter(status=SourceFile.Status.QUEUED).exists():
            locked.release_preparation()
        else:
            locked.start_or_fail()
            changes.append(status_change(locked))
        publish(locked, *changes)


def _record_file(batch: Batch, source: SourceFile, outcome: Document | OcrError) -> Change:
    source.batch = batch
    if isinstance(outcome, Document):
        try:
            batch.check_room(outcome.pages)
        except OcrError as error:
            outcome = error
    if isinstance(outcome, OcrError):
        source.reject(outcome)
        return change(batch, "file.rejected", source)
    source.accept(outcome)
    Page.objects.add(source, outcome)
    return change(batch, "file.accepted", source)
