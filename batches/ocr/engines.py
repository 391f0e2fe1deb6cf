"""Which engine reads: what it is called, the languages it can read, and the one way to have an image read."""

import os
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from batches.documents import Word
from batches.errors import EngineCrashed, EngineMissing, LanguageMissing
from batches.ocr import command, warm
from batches.ocr.traineddata import ENDING, ORIENTATION, digest_of, languages_in, readable
from batches.ocr.tsv import parse_tsv
from batches.stages import Stages

# Image, languages, page segmentation mode, seconds: the image's TSV.
Run = Callable[[Path, Iterable[str], int, float], str]


@dataclass(frozen=True)
class Engine:
    """An engine that is installed: its name and version as recorded with each page, and what it can read.

    `tessdata`: the folder of its models, where that is known.
    """

    name: str
    languages: tuple[str, ...]
    tessdata: Path | None
    run: Run

    def check_languages(self, languages: Iterable[str]) -> None:
        """Raise LanguageMissing, with the names, unless all of them are installed."""
        if missing := [language for language in languages if language not in self.languages]:
            raise LanguageMissing.named(missing, list(self.languages))

    def model_digests(self, languages: Iterable[str]) -> tuple[str, ...]:
        """SHA-256, in hex, of each language's model and of the one for orientation; empty where it is not known.

        With the engine's name they say whether a page would be read as before.
        """
        names = [*languages, ORIENTATION]
        if self.tessdata is None:
            return ("",) * len(names)
        return tuple(digest_of(self.tessdata / f"{name}{ENDING}") for name in names)

    def read_words(
        self,
        image: Path,
        size: tuple[int, int],
        languages: Iterable[str],
        psm: int,
        timeout: float,
        stages: Stages | None = None,
    ) -> tuple[Word, ...]:
        """The words on the image, which has `size` pixels and lies in a private folder; `timeout` in seconds.

        `psm` is Tesseract's page segmentation mode. The time it takes is added to `stages`.
        Raises EngineCrashed, EngineTimeout, OutOfMemory, LanguageMissing or EngineMissing.
        """
        stages = stages or Stages()
        try:
            with stages.measure("recognise"):
                tsv = self.run(image, languages, psm, timeout)
            with stages.measure("parse"):
                return parse_tsv(tsv, size)
        except (FileNotFoundError, ValueError, IndexError) as error:  # no output, or none that is Tesseract's
            raise EngineCrashed("Tesseract gave no usable result for this page. Retry it.") from error


def probe(engine: str = "pytesseract") -> Engine:
    """The engine of this name as it is installed now, a name of `ENGINES`. Raises EngineMissing."""
    return ENGINES[engine]()


def _command() -> Engine:
    version = _ask_tesseract("--version").split("\n", 1)[0].removeprefix("tesseract").strip(" v")
    languages, tessdata = _listed()
    return Engine(f"Tesseract {version}", readable(languages), tessdata, command.tsv_of)


def _warm() -> Engine:
    """It reads with the system's models; without the system's Tesseract, with those that TESSDATA_PREFIX names."""
    version = warm.version()
    named = os.environ.get("TESSDATA_PREFIX")
    tessdata = Path(named) if named else _listed()[1]
    if tessdata is None:
        raise EngineMissing(
            "Where Tesseract's models are is not known. Ask your administrator to set TESSDATA_PREFIX."
        )
    name = f"Tesseract {version} (tesserocr)"
    return Engine(name, readable(languages_in(tessdata)), tessdata, partial(warm.tsv_of, tessdata))


# By the names that the setting OCR_ENGINE has for them.
ENGINES: dict[str, Callable[[], Engine]] = {"pytesseract": _command, "tesserocr": _warm}


def _listed() -> tuple[list[str], Path | None]:
    """The installed Tesseract's models, and the folder of which its heading says that they are there."""
    heading, *names = _ask_tesseract("--list-langs").splitlines() or [""]
    folder = re.search(r'"(.+)"', heading)
    return names, Path(folder[1]) if folder else None


def _ask_tesseract(option: str) -> str:
    try:
        answer = subprocess.run(["tesseract", option], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineMissing from error
    return answer.stdout
