"""The system's Tesseract, run by pytesseract: one process a recognition.

It sees only images that we wrote (given a text file under an image's name it would open what is listed there).
It runs through `caged-tesseract`: its own process group, limits, a clean environment.
"""

import logging
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytesseract

from batches.documents import Word
from batches.errors import (
    EngineCrashed,
    EngineMissing,
    EngineTimeout,
    LanguageMissing,
    OcrError,
    OutOfMemory,
)
from batches.ocr.tsv import parse_tsv

logger = logging.getLogger(__name__)

pytesseract.pytesseract.tesseract_cmd = str(Path(__file__).with_name("caged-tesseract"))

STOPPED = "stopped"  # a file of this name in its folder: the recognition is no longer wanted


def read_words(
    image: Path, size: tuple[int, int], languages: Iterable[str], psm: int, timeout: float
) -> tuple[Word, ...]:
    """The words on the image, which has `size` pixels and lies in a private folder; `timeout` in seconds.

    `psm` is Tesseract's page segmentation mode.
    Raises EngineCrashed, EngineTimeout, OutOfMemory, LanguageMissing or EngineMissing.
    """
    output = image.with_name("out")
    if image.with_name(STOPPED).exists():
        raise EngineCrashed
    try:
        pytesseract.pytesseract.run_tesseract(
            str(image),
            str(output),
            extension="tsv",
            lang="+".join(languages),
            config=f"--psm {psm} -c tessedit_create_tsv=1",
            timeout=timeout,
        )
        return parse_tsv(output.with_suffix(".tsv").read_text("utf-8"), size)
    except pytesseract.TesseractError as error:
        raise _engine_error(error.status, str(error.message)) from error
    except RuntimeError as error:  # how pytesseract tells a timeout
        raise EngineTimeout from error
    except (FileNotFoundError, ValueError, IndexError) as error:  # no output, or none that is Tesseract's
        raise EngineCrashed("Tesseract gave no usable result for this page. Retry it.") from error
    finally:
        _end_group(image.with_name("pid"))


def stop(folder: Path) -> None:
    """End the recognition that goes on in `folder`, from another thread. Call again until it has ended."""
    (folder / STOPPED).touch()
    _end_group(folder / "pid")


def _engine_error(status: int, stderr: str) -> OcrError:
    """Tesseract's exit status (negative: the signal that ended it) and last words as one of our errors."""
    logger.warning("tesseract ended with status %s: %s", status, stderr[:500])
    if status in (126, 127):
        return EngineMissing()
    if status in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return EngineTimeout()
    if "bad_alloc" in stderr or "memory" in stderr.lower():
        return OutOfMemory()
    if "Failed loading language" in stderr or "couldn't load any languages" in stderr:
        return LanguageMissing()
    return EngineCrashed()


def _end_group(pid_file: Path) -> None:
    """Kill what is left of the run, children included. Safe where all is gone."""
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        os.killpg(int(pid_file.read_text()), signal.SIGKILL)
