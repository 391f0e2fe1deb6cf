"""What workers do: take the next piece of work from the database, do it, tell what came of it.

A message is a wake token: it says that there is work, not which. Whoever takes it claims something and puts
the next token before beginning, so that one waits for the next free slot as long as anything is queued.
A token that finds nothing to do ends. The broker may lose them all: the sweep puts a new one.
"""

import errno
import json
import logging
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import redis
from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_init
from django.conf import settings
from django.db import DatabaseError, transaction

from batches import documents, ocr
from batches.documents import Document, Kind
from batches.errors import EngineMissing, EngineTimeout, NoSpace, OcrError, OutOfMemory, WorkerLost
from batches.events import Change, change, publish
from batches.files import replacing
from batches.models import MAX_LOSSES, Batch, Page, SourceFile
from batches.ocr import PageResult

logger = logging.getLogger(__name__)

PREPARE_SECONDS = 1.0  # how long files are looked at before others have their turn
PREPARE_FILES = 200  # and how many at the most, which bounds the transaction
STALE_SECONDS = 24 * 3600  # temporary files older than this have no owner any more


@shared_task
def work() -> None:
    """Look at files for a second, if any wait; then read a page, if any waits."""
    if batch := Batch.objects.claim_preparation():
        wake()
        prepare(batch)
    if page := Page.objects.claim():
        wake()
        read(page)


def wake() -> None:
    """Put a wake token, unless one waits already. Trouble with the broker is logged: the sweep comes by."""
    try:
        # Asked by a client of its own, which answers at once if Redis is away: a user may be waiting.
        with redis.Redis.from_url(settings.REDIS_URL, **settings.REDIS_ANSWERS_AT_ONCE) as client:
            if not client.llen("work"):
                work.delay()
    except Exception as error:  # kombu lets many of the client's own errors through
        logger.warning("No wake token could be put, the sweep will: %s", error)


def wake_on_commit() -> None:
    """The same once the surrounding transaction has been committed: nobody wakes for what is not there."""
    transaction.on_commit(wake)


@worker_init.connect
def probe_engine(**kwargs: Any) -> None:
    """Say at start-up what reads, or that nothing can."""
    try:
        engine = ocr.probe()
        logger.info("Tesseract %s reads %s", engine.version, ", ".join(engine.languages))
    except EngineMissing as error:
        logger.critical("%s", error)


# ------------------------------------------------------------------ preparing a batch


def prepare(batch: Batch) -> None:
    """Look at some of the batch's files and tell of each; after the last one, let its pages be read."""
    try:
        if batch.status == Batch.Status.QUEUED:
            ocr.probe().check_languages(batch.reading_options().languages)
            _begin_preparation(batch)
        found = _inspect_files(batch)
    except DatabaseError:
        raise  # not the batch's fault: the lease runs out and another worker goes on
    except OcrError as error:
        _fail_preparation(batch, error)
    except Exception:
        logger.exception("Preparing batch %s failed", batch.pk)
        _fail_preparation(batch, OcrError())
    else:
        _record_files(batch, found)
        wake()


def _begin_preparation(batch: Batch) -> None:
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        if locked.prepare():
            publish(locked, change(locked, "batch.preparing"))


def _fail_preparation(batch: Batch, error: OcrError) -> None:
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        if locked.fail(error):
            publish(locked, change(locked, "batch.failed"))


def _inspect_files(batch: Batch) -> list[tuple[SourceFile, Document | OcrError]]:
    found: list[tuple[SourceFile, Document | OcrError]] = []
    deadline = time.monotonic() + PREPARE_SECONDS
    waiting = batch.files.filter(status=SourceFile.Status.QUEUED).order_by("position")
    for source in waiting[:PREPARE_FILES]:
        if not found and batch.losses >= MAX_LOSSES:
            found.append((source, WorkerLost()))  # it took three workers with it
        else:
            found.append((source, _inspect(source)))
        if time.monotonic() > deadline:
            break
    return found


def _inspect(source: SourceFile) -> Document | OcrError:
    try:
        return documents.inspect(source.path, settings.MAX_PAGES_PER_BATCH)
    except Exception as error:
        return _told(error, f"Looking at file {source.pk}")


def _record_files(batch: Batch, found: list[tuple[SourceFile, Document | OcrError]]) -> None:
    """Save what the files are, all in one short transaction. A batch cancelled meanwhile stays as it is."""
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        if locked.status != Batch.Status.PREPARING:
            return
        changes = [_record_file(locked, source, outcome) for source, outcome in found]
        if locked.files.filter(status=SourceFile.Status.QUEUED).exists():
            locked.release_preparation()
        else:
            locked.start_or_fail()
            changes.append(_status_change(locked))
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


# ------------------------------------------------------------------ reading a page


def read(page: Page) -> None:
    """Read the page and tell what came of it, unless another attempt holds it by then."""
    outcome: PageResult | OcrError
    try:
        outcome = _recognise(page)
        _write_words(page, outcome)
    except Exception as error:
        outcome = _told(error, f"Reading page {page.number} of batch {page.batch_id}")
    if not settle(page, outcome):
        page.words_path(page.attempt).unlink(missing_ok=True)
        logger.info("The result of attempt %s at page %s came too late", page.attempt, page.pk)


def settle(page: Page, outcome: PageResult | OcrError) -> bool:
    """End the page, count it, end the batch if it was the last, tell all. False: the page is not ours."""
    with transaction.atomic():
        batch = Batch.objects.locked(page.batch_id)
        ended = page.succeed(outcome) if isinstance(outcome, PageResult) else page.fail(outcome)
        if ended:
            batch.count(page.status)
            read = isinstance(outcome, PageResult)
            told = change(batch, "page.succeeded" if read else "page.failed", page)
            publish(batch, told, *end_if_done(batch))
        return ended


def end_if_done(batch: Batch) -> list[Change]:
    """What there is to tell if this ended the batch. Under the row's lock, so that it is told once."""
    return [_status_change(batch)] if batch.end_if_done() else []


def _status_change(batch: Batch) -> Change:
    match batch.status:
        case Batch.Status.RUNNING:
            return change(batch, "batch.running")
        case Batch.Status.COMPLETED:
            return change(batch, "batch.completed")
        case Batch.Status.CANCELLED:
            return change(batch, "batch.cancelled")
        case _:
            return change(batch, "batch.failed")


def _recognise(page: Page) -> PageResult:
    options = page.batch.reading_options()
    kind = Kind(page.source.kind)
    image = documents.load_page(page.source.path, kind, page.index, settings.MAX_PAGE_PIXELS)
    with replacing(page.image_path) as temporary:
        documents.write_rendition(image.image, temporary)
    with tempfile.TemporaryDirectory(prefix="page-", dir=settings.TMP_DIR) as folder:
        return ocr.recognise(
            image, options, Path(folder), engine=engine_name(), timeout=settings.PAGE_TIMEOUT
        )


def _write_words(page: Page, result: PageResult) -> None:
    with replacing(page.words_path(page.attempt)) as temporary:
        temporary.write_text(json.dumps({"engine": result.engine, "words": result.words}), "utf-8")


@cache
def engine_name() -> str:
    """The engine as it is recorded with each page. Asked once a process, and those are short-lived."""
    return f"Tesseract {ocr.probe().version}"


def _told(error: Exception, what: str) -> OcrError:
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
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return NoSpace()
        case _:
            logger.error("%s failed", what, exc_info=error)
            return OcrError()


# ------------------------------------------------------------------ the sweep


@shared_task
def sweep() -> None:
    """Mend what crashes left behind. Safe at any time, and twice at once: each step is a compare-and-set."""
    for page in Page.objects.abandoned().select_related("batch", "source")[:1000]:
        _take_back(page)
    for batch in Batch.objects.unended():
        with transaction.atomic():
            locked = Batch.objects.locked(batch.pk)
            if changes := end_if_done(locked):
                logger.warning("Batch %s had ended unnoticed", batch.pk)
                publish(locked, *changes)
    if Batch.objects.to_prepare().exists() or Page.objects.waiting().exists():
        wake()
    _remove_ownerless(settings.TMP_DIR)


def _take_back(page: Page) -> None:
    """A page whose worker is gone: back into the queue, or failed if this has happened too often."""
    if page.losses + 1 >= MAX_LOSSES:
        settle(page, WorkerLost())
        return
    with transaction.atomic():
        batch = Batch.objects.locked(page.batch_id)
        if batch.status == Batch.Status.CANCELLING:
            if page.drop():
                batch.count("cancelled")
                publish(batch, *end_if_done(batch))
        elif page.lose():
            logger.warning("Page %s was abandoned in attempt %s: queued again", page.pk, page.attempt)


def _remove_ownerless(folder: Path) -> None:
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
