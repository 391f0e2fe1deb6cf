"""Holding work in hand: a short lease, renewed from a thread for as long as the work goes on."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, connection

logger = logging.getLogger(__name__)

BEAT_SECONDS = 3.0  # how often work in hand is asked for whether it is still wanted


@contextmanager
def kept(renew: Callable[[], bool], unwanted: Callable[[], None] | None = None) -> Iterator[None]:
    """Renew the lease while the block runs. Once that answers False, call `unwanted` again and again."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(over, renew, unwanted), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(over: threading.Event, renew: Callable[[], bool], unwanted: Callable[[], None] | None) -> None:
    try:
        wanted = True
        while wanted and not over.wait(BEAT_SECONDS):
            wanted = _renewed(renew)
        while unwanted and not over.wait(0.1):
            unwanted()
    finally:
        connection.close()  # this thread's own


def _renewed(renew: Callable[[], bool]) -> bool:
    try:
        return renew()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("A lease could not be renewed: %s", error)
        connection.close()
        return True
