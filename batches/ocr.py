"""The engine: one run of Tesseract a page, and what came of it. Knows no Django.

Tesseract sees only images that we wrote (given a text file under an image's name it would open what is
listed there). It runs through `caged-tesseract`: its own process group, limits, a clean environment.
"""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import pytesseract

from batches.documents import PageImage
from batches.documents import Word as Word
from batches.errors import (
    BadOptions,
    EngineCrashed,
    EngineMissing,
    EngineTimeout,
    LanguageMissing,
    OcrError,
    OutOfMemory,
)

logger = logging.getLogger(__name__)

pytesseract.pytesseract.tesseract_cmd = str(Path(__file__).with_name("caged-tesseract"))

# tesseract(1): what a TSV line holds, and the levels of its first column that matter here.
TSV_COLUMNS = 12
TEXT_OF_PDF = "the PDF's own text"  # the engine of pages that were not read
SCATTERED_SURE = 60.0  # confidence: where no line was found, drawings and stains give words of less
PAGE_LEVEL, WORD_LEVEL = "1", "5"

STOPPED = "stopped"  # a file of this name in its folder: the recognition is no longer wanted
ROTATIONS = (0, 90, 180, 270)  # degrees clockwise


class Segmentation(StrEnum):
    """How a page is cut into lines, by names people know; `psm` is Tesseract's number for it."""

    AUTO = "auto"
    BLOCK = "block"
    SPARSE = "sparse"

    @property
    def psm(self) -> int:
        """Tesseract's page segmentation mode: 1 also finds pages that lie on their side."""
        return {Segmentation.AUTO: 1, Segmentation.BLOCK: 6, Segmentation.SPARSE: 11}[self]


class PdfText(StrEnum):
    """What is done with a PDF page that brings its text with it."""

    KEEP = "keep"
    READ = "read"


@dataclass(frozen=True)
class Options:
    """How pages are read. Kept with the batch, or the page, as JSON; only `parse` makes one from there.

    `rotation`: degrees clockwise by which the page is turned before it is read.
    """

    languages: tuple[str, ...] = ("eng",)
    segmentation: Segmentation = Segmentation.AUTO
    rotation: int = 0
    pdf_text: PdfText = PdfText.KEEP

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Options":
        """The options in `data`. Raises BadOptions for an unknown name or value.

        What older batches do not say is as it was when they were made.
        """
        try:
            languages = tuple(str(language) for language in data["languages"])
            options = cls(
                languages,
                Segmentation(data["segmentation"]),
                data.get("rotation", 0),
                PdfText(data.get("pdf_text", PdfText.KEEP)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadOptions from error
        if not languages or options.rotation not in ROTATIONS or data.keys() - asdict(options).keys():
            raise BadOptions
        return options

    def as_json(self) -> dict[str, Any]:
        """What `parse` reads back."""
        return asdict(self) | {"languages": list(self.languages)}


@dataclass(frozen=True)
class Engine:
    """The Tesseract that is installed: its version, and the languages it can read."""

    version: str
    languages: tuple[str, ...]

    def check_languages(self, languages: Iterable[str]) -> None:
        """Raise LanguageMissing, with the names, unless all of them are installed."""
        if missing := [language for language in languages if language not in self.languages]:
            raise LanguageMissing.named(missing, list(self.languages))


@dataclass(frozen=True)
class PageResult:
    """What one page says. `confidence` is the mean over its words (0–100), None where there are none."""

    text: str
    words: tuple[Word, ...]
    confidence: float | None
    width: int
    height: int
    dpi: int | None
    engine: str
    seconds: float
    rotation: int = 0  # degrees clockwise by which the page was turned
    note: str = ""


def probe() -> Engine:
    """Ask the installed Tesseract for its version and languages. Raises EngineMissing."""
    version = _ask_tesseract("--version").split("\n", 1)[0].removeprefix("tesseract").strip(" v")
    listed = _ask_tesseract("--list-langs").splitlines()[1:]  # the first line is a heading
    return Engine(version, tuple(sorted(set(listed) - {"osd", ""})))


def recognise(page: PageImage, options: Options, *, engine: str, timeout: float) -> PageResult:
    """Read one page in its private folder; `timeout` is in seconds a run. Words that came with it are taken.

    Where the first way of reading finds nothing on a page that is not blank, scattered words are looked
    for once: an empty text is looked at, not believed.
    Raises EngineCrashed, EngineTimeout, OutOfMemory, LanguageMissing or EngineMissing.
    """
    started = time.monotonic()
    if page.words is not None:
        words, engine = page.words, TEXT_OF_PDF
    else:
        words = _recognise_words(page, options, timeout)
    return PageResult(
        text=text_of(words),
        words=words,
        confidence=round(fmean(word.confidence for word in words), 1) if words else None,
        width=page.width,
        height=page.height,
        dpi=page.dpi,
        engine=engine,
        seconds=round(time.monotonic() - started, 2),
        rotation=options.rotation,
        note=page.note,
    )


def _recognise_words(page: PageImage, options: Options, timeout: float) -> tuple[Word, ...]:
    size = (page.width, page.height)
    words = _read_words(page.gray, size, options, timeout)
    if not words and options.segmentation is not Segmentation.SPARSE and not page.blank:
        found = _read_words(page.gray, size, replace(options, segmentation=Segmentation.SPARSE), timeout)
        words = tuple(word for word in found if word.confidence >= SCATTERED_SURE)
    return words


def stop(folder: Path) -> None:
    """End the recognition that goes on in `folder`, from another thread. Call again until it has ended."""
    (folder / STOPPED).touch()
    _end_group(folder / "pid")


def text_of(words: Iterable[Word]) -> str:
    """The words as Tesseract's own text output has them: a line a line, an empty one between paragraphs."""
    paragraphs = (
        "\n".join(
            " ".join(word.text for word in line) for _, line in groupby(paragraph, key=lambda word: word.line)
        )
        for _, paragraph in groupby(words, key=lambda word: (word.block, word.paragraph))
    )
    return "\n\n".join(paragraphs)


# ------------------------------------------------------------------ one run


def _read_words(source: Path, size: tuple[int, int], options: Options, timeout: float) -> tuple[Word, ...]:
    output = source.with_name("out")
    if source.with_name(STOPPED).exists():
        raise EngineCrashed
    try:
        pytesseract.pytesseract.run_tesseract(
            str(source),
            str(output),
            extension="tsv",
            lang="+".join(options.languages),
            config=f"--psm {options.segmentation.psm} -c tessedit_create_tsv=1",
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
        _end_group(source.with_name("pid"))


def parse_tsv(tsv: str, size: tuple[int, int]) -> tuple[Word, ...]:
    """The words in Tesseract's TSV. Raises ValueError unless it is one, of a page of `size` pixels."""
    rows = [row.split("\t", TSV_COLUMNS - 1) for row in tsv.splitlines()[1:]]
    if (
        not rows
        or not tsv.endswith("\n")
        or rows[0][0] != PAGE_LEVEL
        or rows[0][8:10] != [str(side) for side in size]
    ):
        raise ValueError("not the TSV of this page")
    return tuple(_word(row) for row in rows if row[0] == WORD_LEVEL and row[11].strip())


def _word(row: list[str]) -> Word:
    block, paragraph, line, number, left, top, width, height = map(int, row[2:10])
    confidence = round(float(row[10]), 1)
    return Word(block, paragraph, line, number, left, top, width, height, confidence, row[11])


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


def _ask_tesseract(option: str) -> str:
    try:
        answer = subprocess.run(["tesseract", option], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineMissing from error
    return answer.stdout
