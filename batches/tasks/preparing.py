"""Looking at a batch's files, some at a time, until its pages may be read."""

import logging
from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError, transaction

from batches import documents, ocr
from batches.documents import Archive, Document
from batches.errors import OcrError, TooManyPages, WorkerLost
from batches.events import EventType, change, publish
from batches.files import digest
from batches.models import MAX_LOSSES, Batch, Page, SourceFile
from batches.tasks.limits import limits
from batches.tasks.outcomes import as_told, status_change
from batches.tasks.tokens import wake

logger = logging.getLogger(__name__)

Outcome = Document | Archive | OcrError

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


def _inspect_files(batch: Batch) -> list[tuple[SourceFile, Outcome]]:
    # After a loss one at a time, so that the next loss is known to be this file's.
    waiting = list(batch.files.waiting()[: 1 if batch.losses else PREPARE_FILES])
    if batch.losses >= MAX_LOSSES:
        return [(source, WorkerLost()) for source in waiting]
    found: list[tuple[SourceFile, Outcome]] = []
    for source, outcome in zip(waiting, _inspect(waiting), strict=False):
        found.append((source, outcome))
        if isinstance(outcome, Archive):
            break  # its files come before the next file
    return found


def _inspect(waiting: list[SourceFile]) -> list[Outcome]:
    """What the first of these files are, as many as there is time for."""
    if not waiting:
        return []
    try:
        return list(_inspect_together(waiting))
    except Exception as error:
        return [as_told(error, f"Looking at file {waiting[0].pk}")]


def _inspect_together(waiting: list[SourceFile]) -> Iterator[Outcome]:
    nested = waiting[0].member > 0
    if nested:
        _unpack(waiting[0], waiting)
    together = list(_of_a_kind(waiting))
    paths = [source.path for source in together]
    found = documents.inspect_all(paths, limits(), settings.TMP_DIR, nested=nested, within=PREPARE_SECONDS)
    for source, outcome in zip(together, found, strict=False):
        if nested:
            source.sha256, source.size = digest(source.path)
        yield as_told(outcome, f"Looking at file {source.pk}") if isinstance(outcome, Exception) else outcome


def _of_a_kind(waiting: list[SourceFile]) -> Iterator[SourceFile]:
    """Those that can be looked at together with the first: handed over like it, or unpacked with it."""
    for source in waiting:
        if (source.member > 0) != (waiting[0].member > 0) or (source.member and not source.path.exists()):
            return
        yield source


def _unpack(source: SourceFile, waiting: list[SourceFile]) -> None:
    """Take the member out of its archive, and some of those that follow it, unless that has been done."""
    if not source.path.exists():
        together = (other for other in waiting if other.position == source.position)
        targets = {other.member: other.path for other in together}
        documents.unpack(source.archive.path, targets, limits(), settings.TMP_DIR)


def _record_files(batch: Batch, found: list[tuple[SourceFile, Outcome]]) -> None:
    """Save what the files are, all in one short transaction, if the batch is still ours to prepare."""
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        if locked.status != Batch.Status.PREPARING or locked.attempt != batch.attempt:
            return
        accepted = _record(locked, found)
        Page.objects.add(locked, accepted)
        changes = [change(locked, _told(source), source) for source, _ in found]
        if locked.files.waiting().exists():
            locked.release_preparation()
        else:
            locked.start_or_fail()
            changes.append(status_change(locked))
        publish(locked, *changes)


def _record(batch: Batch, found: list[tuple[SourceFile, Outcome]]) -> list[tuple[SourceFile, Document]]:
    """Save what each file is. Answers those that have pages to be read."""
    accepted: list[tuple[SourceFile, Document]] = []
    originals = batch.files.originals(source.sha256 for source, _ in found)
    room = settings.MAX_PAGES_PER_BATCH - batch.total
    for source, outcome in found:
        source.batch = batch
        match outcome:
            case Archive():
                source.unpack()
                batch.files.add_members(source, outcome.members)
            case Document() if outcome.pages <= room:
                source.accept(outcome, originals.get(source.sha256))
                originals.setdefault(source.sha256, source)
                accepted.append((source, outcome))
                room -= outcome.pages
            case Document():
                source.reject(TooManyPages())
            case _:
                source.reject(outcome)
    return accepted


def _told(source: SourceFile) -> EventType:
    return "file.rejected" if source.status == SourceFile.Status.REJECTED else "file.accepted"
