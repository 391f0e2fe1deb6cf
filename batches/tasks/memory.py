"""Big pages one at a time on a machine: several at once would take more memory than it has (`ocrsite.memory`)."""

import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.conf import settings

from batches.models import Page, Trial
from batches.tasks.tokens import wake

logger = logging.getLogger(__name__)


class BigPageLock:
    """This machine's right to have a big page in hand. The kernel takes it back from a process that dies."""

    def __init__(self) -> None:
        self.path = Path(settings.DATA_DIR) / f"big-page-{socket.gethostname()}.lock"
        self.held = False
        self._file: int | None = None

    def take(self) -> bool:
        """Take it, if nobody has it. Never waits; where files cannot be locked, anybody has it."""
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close()
            return False
        except OSError as error:
            logger.warning("Big pages are not kept apart, %s cannot be locked: %s", self.path, error)
        self.held = True
        return True

    def release(self) -> None:
        """Let others have it."""
        self.held = False
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


Claimed = TypeVar("Claimed", Page, Trial)


@contextmanager
def claimed(claim: Callable[..., Claimed | None]) -> Iterator[Claimed | None]:
    """What `claim` takes in hand, a page or a trial; a big one only if no other on this machine is.

    Who finds big pages waiting for another one ends; so when that one has been read, somebody is woken.
    """
    lock = BigPageLock()
    try:
        taken = claim(big=lock.take())
        if taken is None or not taken.is_big:
            lock.release()
        yield taken
    finally:
        if lock.held:
            lock.release()
            wake()
