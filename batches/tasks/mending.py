"""Mending what crashes left behind."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from batches.errors import WorkerLost
from batches.events import publish
from batches.models import MAX_LOSSES, Batch, Page, Trial, Upload
from batches.tasks import recognised
from batches.tasks.outcomes import end_if_done, settle
from batches.tasks.tokens import wake

UUID_PATTERN = "????????-????-????-????-????????????"
STALE_SECONDS = 24 * 3600  # temporary files older than this have no owner any more


def mend() -> list[str]:
    """Mend what crashes left behind; answers a line for each thing that was mended.

    Safe at any time, and twice at once: each step is a compare-and-set, and only who did it tells of it.
    """
    steps = [
        _take_back_pages,
        _take_back_trials,
        _end_batches,
        _wake,
        _remove_stale,
        _remove_abandoned,
        _remove_ownerless,
    ]
    steps += [_remove_abandoned_uploads, _remove_ownerless_uploads, recognised.bound, _heal_recognised]
    return [line for step in steps for line in step()]


def _take_back_pages() -> Iterator[str]:
    """A page whose worker is gone: back into the queue, or ended if it is wanted no more or lost too often."""
    for page in Page.objects.abandoned().select_related("source")[:1000]:
        with transaction.atomic():
            # What becomes of it is decided under the lock: the batch may be cancelled at this moment.
            batch = Batch.objects.locked_if_there(page.batch_id)
            came_of_it = _take_back(page, batch) if batch else ""
        if came_of_it:
            yield f"Page {page.number} of batch {page.batch_id} was abandoned: {came_of_it}"


def _take_back(page: Page, batch: Batch) -> str:
    if batch.status == Batch.Status.CANCELLING:
        return "not read, its batch was cancelled" if settle(page, None) else ""
    if page.losses + 1 >= MAX_LOSSES:
        return f"failed, after {MAX_LOSSES} lost workers" if settle(page, WorkerLost()) else ""
    return f"queued again after attempt {page.attempt}" if page.lose() else ""


def _take_back_trials() -> Iterator[str]:
    """A trial whose worker is gone: back into the queue, or ended if it was lost too often."""
    for trial in Trial.objects.abandoned()[:1000]:
        failed = trial.losses + 1 >= MAX_LOSSES
        if trial.fail(WorkerLost()) if failed else trial.lose():
            came_of_it = f"failed, after {MAX_LOSSES} lost workers" if failed else "queued again"
            yield f"Trial {trial.pk} of batch {trial.batch_id} was abandoned: {came_of_it}"


def _end_batches() -> Iterator[str]:
    for batch in Batch.objects.unended():
        with transaction.atomic():
            locked = Batch.objects.locked_if_there(batch.pk)
            if locked and (changes := end_if_done(locked)):
                publish(locked, *changes)
                yield f"Batch {batch.pk} had ended unnoticed: {locked.status}"


def _wake() -> Iterator[str]:
    others = Batch.objects.to_prepare().exists() or Trial.objects.waiting().exists()
    put = (others or Page.objects.waiting().exists()) and wake()
    if put and (others or not Page.objects.wait_for_a_big_one()):
        yield "Work was waiting with no token for it: one was put"


def _remove_stale() -> Iterator[str]:
    """Old temporary files. Workers make and remove theirs meanwhile."""
    for path in settings.TMP_DIR.iterdir():
        if _is_stale(path):
            _remove(path)
            yield f"{path.name} was a temporary file that nobody needs: removed"


def _remove_abandoned() -> Iterator[str]:
    """Folders of attempts at a page or trial that are over: their worker was killed before it could remove them.

    Not at once: a worker that was only cut off has to find there what it must stop.
    """
    for path in (*settings.TMP_DIR.glob("page-*"), *settings.TMP_DIR.glob("trial-*")):
        if _is_older(path, settings.LEASE_SECONDS) and not _is_in_hand(path):
            _remove(path)
            yield f"{path.name} was left behind by a worker: removed"


def _is_in_hand(path: Path) -> bool:
    """Whether the attempt that the folder is named after goes on."""
    kind, pk, attempt, *_ = path.name.split("-")
    work: QuerySet[Any] = (Page if kind == "page" else Trial).objects.all()
    return work.filter(pk=pk, attempt=attempt, status="running").exists()


def _remove_ownerless() -> Iterator[str]:
    """Folders of batches that never came to be, or that were deleted while something was being written."""
    for path in (settings.DATA_DIR / "batches").glob(UUID_PATTERN):
        if _is_stale(path) and not Batch.objects.filter(pk=path.name).exists():
            _remove(path)
            yield f"The folder {path.name} belonged to no batch: removed"


def _remove_abandoned_uploads() -> Iterator[str]:
    """Files of batches that were never started, a day after the last piece of any of them."""
    old = Upload.objects.abandoned()
    gone = [upload for upload in old[:1000] if old.filter(pk=upload.pk).delete()[0]]
    for upload in gone:
        upload.drop_file()
    if gone:
        yield f"Uploads that nobody went on with for a day: {len(gone)} removed"


def _remove_ownerless_uploads() -> Iterator[str]:
    """Files of uploads that were removed, or became part of a batch, when their process ended too early."""
    for path in (settings.DATA_DIR / "uploads").glob(UUID_PATTERN):
        if _is_stale(path) and not Upload.objects.filter(pk=path.name).exists():
            _remove(path)
            yield f"The file {path.name} belonged to no upload: removed"


def _heal_recognised() -> Iterator[str]:
    """A part of what was recognised before each time, and the next part the next time."""
    part = int(time.time() / settings.SWEEP_SECONDS)
    return recognised.heal(part, lambda path: _is_older(path, settings.LEASE_SECONDS))


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    return _is_older(path, STALE_SECONDS)


def _is_older(path: Path, seconds: float) -> bool:
    """By the file system's own clock: this machine's may be another, and wrong."""
    try:
        touched = path.stat().st_mtime
    except FileNotFoundError:
        return False
    with tempfile.TemporaryFile(dir=path.parent) as now:
        return os.fstat(now.fileno()).st_mtime - touched > seconds
