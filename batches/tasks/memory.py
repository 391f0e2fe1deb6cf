"""Big pages one at a time on a machine: several at once would take more memory than it has (`ocrsite.memory`)."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from batches.models import Page
from batches.tasks.tokens import wake


class BigPageLock:
    """This machine's right to have a big page in hand. The kernel takes it back from a process that dies."""

    def __init__(self) -> None:
        self.path = Path(settings.TMP_DIR) / f"big-page-{socket.gethostname()}"
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def take(self) -> bool:
        """Take it, if nobody has it. Never waits."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.utime(file)  # or it would go with the old temporary files
            if os.fstat(file).st_ino != self.path.stat().st_ino:
                raise FileNotFoundError("it went with the old temporary files in this moment")
        except OSError:  # somebody has it, or it cannot be had: ordinary pages are read all the same
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def claimed_page() -> Iterator[Page | None]:
    """The page whose turn it is, in hand; a big one only if no other on this machine is.

    Who finds big pages waiting for another one ends; so when that one has been read, somebody is woken.
    """
    lock = BigPageLock()
    try:
        page = Page.objects.claim(big=lock.take())
        if page is None or not page.is_big:
            lock.release()
        yield page
    finally:
        if lock.held:
            lock.release()
            wake()
