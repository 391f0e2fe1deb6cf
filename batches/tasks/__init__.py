"""What workers do: take the next piece of work from the database, do it, tell what came of it.

A message is a wake token: it says that there is work, not which. Whoever takes it claims something and puts
the next token before beginning, so that one waits for the next free slot as long as anything is queued.
A token that finds nothing to do ends. The broker may lose them all: the sweep puts a new one.
"""

import logging
import mmap
import time
from typing import Any

from celery import shared_task
from celery.signals import worker_init, worker_shutting_down
from django.conf import settings

from batches import ocr
from batches.errors import EngineMissing
from batches.models import Batch, Page, Trial
from batches.tasks.memory import claimed
from batches.tasks.mending import mend
from batches.tasks.preparing import prepare
from batches.tasks.reading import read
from batches.tasks.tokens import drop_waiting_sweeps, wake
from batches.tasks.trying import may_be_tried, try_out

__all__ = ["mend", "prepare", "read", "sweep", "wake", "work", "work_on"]

logger = logging.getLogger(__name__)


@shared_task(name="batches.tasks.work")
def work_on() -> None:
    """Do one piece of work after the other for some seconds, each from the batch whose turn it is.

    A message costs more than a claim. Once the worker is to stop, nothing more is begun.
    """
    until = time.monotonic() + settings.WORK_SECONDS
    while work() and time.monotonic() < until and not is_stopping():
        pass


def work() -> bool:
    """Look at files for a second, if any wait; then read a page, one that a person waits for first.

    False: there was nothing to do.
    """
    if batch := Batch.objects.claim_preparation():
        wake()
        prepare(batch)
    return bool((may_be_tried() and _try()) or _read() or _try() or batch)


def _read() -> bool:
    with claimed(Page.objects.claim) as page:
        if page:
            wake()
            read(page)
    return page is not None


def _try() -> bool:
    with claimed(Trial.objects.claim) as trial:
        if trial:
            wake()
            try_out(trial)
    return trial is not None


@shared_task
def sweep() -> None:
    """Mend, from time to time, and say in the log what was mended."""
    drop_waiting_sweeps()
    for line in mend():
        logger.warning("%s", line)


_stopping = mmap.mmap(-1, 1)  # one byte that the worker shares with the processes of its pool: they are forks


@worker_shutting_down.connect
def stop_after_this(**kwargs: Any) -> None:
    """The pages in hand are read to their end, and no others."""
    _stopping[0] = 1


def is_stopping() -> bool:
    """Whether this process's worker has been told to end."""
    return bool(_stopping[0])


@worker_init.connect
def probe_engine(**kwargs: Any) -> None:
    """Say at start-up what reads, or that nothing can."""
    try:
        engine = ocr.probe(settings.OCR_ENGINE)
        logger.info("%s reads %s", engine.name, ", ".join(engine.languages))
    except EngineMissing as error:
        logger.critical("%s", error)
