"""Mending what crashes left behind."""

import logging
import shutil
import time
from pathlib import Path

from django.conf import settings
from django.db import transaction

from batches.errors import WorkerLost
from batches.events import publish
from batches.models import MAX_LOSSES, Batch, Page
from batches.tasks.outcomes import end_if_done, settle
from batches.tasks.tokens import wake

logger = logging.getLogger(__name__)

STALE_SECONDS = 24 * 3600  # temporary files older than this have no owner any more


def mend() -> None:
    """Mend what crashes left behind. Safe at any time, and twice at once: each step is a compare-and-set."""
    for page in Page.objects.abandoned().select_related("batch", "source")[:1000]:
        _take_back(page)
    for batch in Batch.objects.unended():
        _end(batch)
    if Batch.objects.to_prepare().exists() or Page.objects.waiting().exists():
        wake()
    _remove_stale(settings.TMP_DIR)
    _remove_ownerless(settings.DATA_DIR / "batches")


def _take_back(page: Page) -> None:
    """A page whose worker is gone: back into the queue, or failed if this has happened too often."""
    if page.batch.status == Batch.Status.CANCELLING:
        settle(page, None)
    elif page.losses + 1 >= MAX_LOSSES:
        settle(page, WorkerLost())
    elif page.lose():
        logger.warning("Page %s was abandoned in attempt %s: queued again", page.pk, page.attempt)


def _end(batch: Batch) -> None:
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        if changes := end_if_done(locked):
            logger.warning("Batch %s had ended unnoticed", batch.pk)
            publish(locked, *changes)


def _remove_stale(folder: Path) -> None:
    """Old temporary files. Workers make and remove theirs meanwhile."""
    for path in folder.iterdir():
        if _is_stale(path):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _remove_ownerless(folder: Path) -> None:
    """Folders of batches that never came to be, or that were deleted while something was being written."""
    for path in folder.glob("????????-????-????-????-????????????"):
        if _is_stale(path) and not Batch.objects.filter(pk=path.name).exists():
            logger.warning("%s belongs to no batch: removed", path)
            shutil.rmtree(path, ignore_errors=True)


def _is_stale(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > STALE_SECONDS
    except FileNotFoundError:
        return False
