"""Looking at a batch's files, some at a time, until its pages may be read."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Count, Sum

from batches import documents, ocr
from batches.documents import Archive, Document, Kind
from batches.errors import OcrError, TooLarge, TooManyPages, WorkerLost
from batches.events import EventType, change, publish
from batches.files import digest
from batches.models import MAX_LOSSES, Batch, Page, SourceFile
from batches.tasks.leases import kept
from batches.tasks.limits import limits
from batches.tasks.outcomes import as_told, end_if_done, status_change
from batches.tasks.tokens import wake

logger = logging.getLogger(__name__)

Outcome = Document | Archive | OcrError

PREPARE_SECONDS = 1.0  # how long files are looked at before others have their turn
PREPARE_FILES = (
    200,
    20,
    1,
)  # and how many at the most: which bounds the transaction, and what a loss may be blamed on


def prepare(batch: Batch) -> None:
    """Look at some of the batch's files and tell of each; after the last one, let its pages be read."""
    try:
        with kept(batch.renew_preparation):
            _prepare(batch)
    except DatabaseError:
        raise  # not the batch's fault: the lease runs out and another worker goes on
    except Batch.DoesNotExist:
        logger.info("Batch %s was deleted while it was being prepared", batch.pk)
        batch.remove_if_deleted()
    except OcrError as error:
        _fail_preparation(batch, error)
    except Exception:
        logger.exception("Preparing batch %s failed", batch.pk)
        _fail_preparation(batch, OcrError())
    else:
        wake()


def _prepare(batch: Batch) -> None:
    if batch.status == Batch.Status.QUEUED:
        ocr.probe(settings.OCR_ENGINE).check_languages(batch.reading_options().languages)
        _begin_preparation(batch)
    _record_files(batch, _inspect_files(batch))


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
    # After a loss fewer, and after the second one at a time: the third is then known to be this file's.
    waiting = list(batch.files.waiting()[: PREPARE_FILES[min(batch.losses, len(PREPARE_FILES) - 1)]])
    if batch.losses >= MAX_LOSSES:
        return [(source, WorkerLost()) for source in waiting[:1]]
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
    for source, outcome in zip(together, _weighed(found, paths), strict=False):
        if nested:
            source.sha256, source.size = digest(source.path)
        yield as_told(outcome, f"Looking at file {source.pk}") if isinstance(outcome, Exception) else outcome


Found = Document | Archive | Exception


def _weighed(found: list[Found], paths: list[Path]) -> list[Found]:
    """The same, and of PDF files how large their pages are. Where that cannot be told, it is not known."""
    pdfs = {n: paths[n] for n, document in enumerate(found) if getattr(document, "kind", None) is Kind.PDF}
    if not pdfs:
        return found
    try:
        weighed = documents.weigh_all(list(pdfs.values()), limits(), settings.TMP_DIR, within=PREPARE_SECONDS)
    except OcrError as error:
        logger.info("How large pages are is not known: %s", error)
        return found
    of = dict(zip(pdfs, weighed, strict=False))
    return [
        replace(document, megapixels=of[n]) if isinstance(document, Document) and n in of else document
        for n, document in enumerate(found)
    ]


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
            changes += [status_change(locked), *end_if_done(locked)]
        publish(locked, *changes)


def _record(batch: Batch, found: list[tuple[SourceFile, Outcome]]) -> list[tuple[SourceFile, Document]]:
    """Save what each file is. Answers those that have pages to be read."""
    accepted: list[tuple[SourceFile, Document]] = []
    originals = batch.files.originals(source.sha256 for source, _ in found)
    room = settings.MAX_PAGES_PER_BATCH - batch.total
    for source, outcome in found:
        source.batch = batch
        match outcome:
            case Archive() if too_much := _too_much(batch, outcome):
                source.reject(too_much)
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
                if source.member:
                    source.path.unlink(missing_ok=True)  # the archive still has it
    return accepted


def _too_much(batch: Batch, archive: Archive) -> OcrError | None:
    """The limits for what unpacks hold for all archives of a batch together."""
    there = batch.files.filter(member__gt=0).aggregate(n=Count("pk"), bytes=Sum("size", default=0))
    unpacked = there["bytes"] + sum(member.size for member in archive.members)
    if there["n"] + len(archive.members) <= settings.MAX_ZIP_ENTRIES and unpacked <= settings.MAX_ZIP_BYTES:
        return None
    return TooLarge(
        f"The archives of a batch may hold {settings.MAX_ZIP_ENTRIES} files and "
        f"{settings.MAX_ZIP_BYTES / 1e9:.0f} GB together. Hand this one over in a batch of its own."
    )


def _told(source: SourceFile) -> EventType:
    return "file.rejected" if source.status == SourceFile.Status.REJECTED else "file.accepted"
