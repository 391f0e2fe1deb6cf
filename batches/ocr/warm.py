"""Tesseract by tesserocr: kept warm in a reader process of its own under each thread that reads.

The reader is no less caged than the command: its own process group, limits, a clean environment, images that we
wrote and nothing else. It ends with its thread, by `ending.stop`, when a page takes too long, and now and then.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from batches.errors import EngineMissing, EngineTimeout, LanguageMissing, OcrError, OutOfMemory
from batches.helper import PROJECT, Helper, Own
from batches.ocr.ending import PID, STOPPED, check_wanted, engine_error

READER = ["-P", str(Path(__file__).with_name("reader.py"))]
PAGES = 200  # then another process goes on: whatever a library loses, it loses for so long
TOLD: dict[str, type[OcrError]] = {error.__name__: error for error in (LanguageMissing, OutOfMemory)}
MISSING = (
    "The fast engine is not installed on this server. Ask your administrator to install tesserocr (make setup), "
    "or to set OCR_ENGINE=pytesseract, then retry."
)


class Reader(Helper):
    """One reader process, and what it complains of."""

    def __init__(self) -> None:
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115 # for as long as the process
        memory = int(os.environ.get("OCR_MEMORY_KB", 4 * 1024**2)) * 1024  # as `caged-tesseract` has it
        super().__init__([*READER, str(PAGES), str(memory)], {"OMP_THREAD_LIMIT": "1"}, self.complaints)

    def read(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reader's answer. Raises TimeoutError, or EOFError or another OSError if it is gone."""
        self.complaints.seek(0)
        self.complaints.truncate()
        answer: dict[str, Any] = self.ask(request, request["seconds"])
        return answer

    def close(self) -> None:
        """End it, and what it has in hand."""
        super().close()
        self.complaints.close()

    def complained(self) -> str:
        """What it had to say of the page."""
        self.complaints.seek(0)
        return self.complaints.read(4000).decode(errors="replace")

    def ended_by(self) -> OcrError:
        """What it means that it is gone."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.process.kill()  # or it is still there, and answers nothing that can be used
        status = self.process.wait()
        return EngineMissing(MISSING) if status == 127 else engine_error(status, self.complained())


_mine: Own[Reader] = Own()


def tsv_of(tessdata: Path, image: Path, languages: Iterable[str], psm: int, timeout: float) -> str:
    """As `command.tsv_of`; `tessdata` is the folder of the models."""
    check_wanted(image.parent)
    request = {"tessdata": str(tessdata), "languages": list(languages), "image": str(image)}
    with _reader(image.parent) as reader:
        answer = reader.read(request | {"psm": psm, "seconds": timeout})
        complaints = reader.complained()
    if answer["last"] or (image.parent / STOPPED).exists():  # stopped in the last moment: it may be dying
        _mine.end()
    match answer.get("error"):
        case None:
            return str(answer["tsv"])
        case "EngineCrashed":
            raise engine_error(1, f"{answer['message']} {complaints}")
        case error:
            raise TOLD[error]


@contextmanager
def _reader(folder: Path) -> Iterator[Reader]:
    """This thread's reader, which `stop(folder)` ends meanwhile. Whatever goes wrong, another is started."""
    reader = _mine.get(Reader)
    pid = folder / PID
    pid.write_text(str(reader.process.pid))
    try:
        yield reader
    except TimeoutError as error:
        _mine.end()
        raise EngineTimeout from error
    except (EOFError, OSError) as error:
        raise reader.ended_by() from error
    except BaseException:  # a time limit of ours among them: it still has the page in hand
        _mine.end()
        raise
    finally:
        pid.unlink(missing_ok=True)


def stop_reader() -> None:
    """End this thread's reader, if it has one. The next page starts another."""
    _mine.end()


@cache
def version() -> str:
    """The version of the Tesseract that tesserocr brings. Raises EngineMissing.

    Asked in a process of its own: nothing of Tesseract is loaded where users are served.
    """
    env = {"PYTHONPATH": str(PROJECT)}
    try:
        answer = subprocess.run(
            [sys.executable, *READER], env=env, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineMissing(MISSING) from error
    return answer.stdout.strip()
