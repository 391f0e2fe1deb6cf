"""How a recognition ends before its time: stopped by us, or by an error of Tesseract's.

Whatever reads a page leaves its process group's number in the page's private folder.
"""

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

from batches.errors import EngineCrashed, EngineMissing, EngineTimeout, LanguageMissing, OcrError, OutOfMemory

logger = logging.getLogger(__name__)

STOPPED = "stopped"  # a file of this name in its folder: the recognition is no longer wanted
PID = "pid"


def stop(folder: Path) -> None:
    """End the recognition that goes on in `folder`, from another thread. Call again until it has ended."""
    (folder / STOPPED).touch()
    end_group(folder)


def check_wanted(folder: Path) -> None:
    """Raise EngineCrashed where the recognition was stopped before it began."""
    if (folder / STOPPED).exists():
        raise EngineCrashed


def end_group(folder: Path) -> None:
    """Kill what runs there, children included. Safe where all is gone."""
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        group = int((folder / PID).read_text())
        if group > 1:  # 0 would be our own, 1 is everybody's
            os.killpg(group, signal.SIGKILL)


def engine_error(status: int, stderr: str) -> OcrError:
    """Tesseract's exit status (negative: the signal that ended it) and last words as one of our errors."""
    logger.warning("tesseract ended with status %s: %s", status, stderr[:500])
    if status in (126, 127):
        return EngineMissing()
    if status in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return EngineTimeout()
    if any(sign in stderr.lower() for sign in ("bad_alloc", "memory", "alloc fail")):
        return OutOfMemory()
    if "Failed loading language" in stderr or "couldn't load any languages" in stderr:
        return LanguageMissing()
    return EngineCrashed()
