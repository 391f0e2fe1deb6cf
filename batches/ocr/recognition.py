"""One page, read: in the way that was chosen, and in another where that gave nothing."""

import time
from collections.abc import Callable
from statistics import fmean

from batches.documents import PageImage, Word
from batches.ocr.engines import Engine
from batches.ocr.options import Options, Segmentation
from batches.ocr.results import TEXT_OF_PDF, PageResult, text_of
from batches.stages import Stages

Read = Callable[[Segmentation], tuple[Word, ...]]

SCATTERED_SURE = 60.0  # confidence: where no line was found, drawings and stains give words of less


def recognise(page: PageImage, options: Options, *, engine: Engine, timeout: float) -> PageResult:
    """Read one page in its private folder; `timeout` is in seconds a run. Words that came with it are taken.

    Where the first way of reading finds nothing on a page that is not blank, scattered words are looked
    for once: an empty text is looked at, not believed.
    Raises EngineCrashed, EngineTimeout, OutOfMemory, LanguageMissing or EngineMissing.
    """
    started = time.monotonic()
    stages = Stages(page.seconds)
    if page.words is not None:
        words = page.words
    else:
        words = _recognise_words(page, options, _reading(page, options, engine, timeout, stages))
    return PageResult(
        text=text_of(words),
        words=words,
        confidence=round(fmean(word.confidence for word in words), 1) if words else None,
        width=page.width,
        height=page.height,
        dpi=page.dpi,
        engine=engine.name if page.words is None else TEXT_OF_PDF,
        seconds=round(time.monotonic() - started, 2),
        rotation=options.rotation,
        note=page.note,
        timings=stages.seconds,
    )


def _recognise_words(page: PageImage, options: Options, read: Read) -> tuple[Word, ...]:
    words = read(options.segmentation)
    if not words and options.segmentation is not Segmentation.SPARSE and not page.blank:
        found = read(Segmentation.SPARSE)
        words = tuple(word for word in found if word.confidence >= SCATTERED_SURE)
    return words


def _reading(page: PageImage, options: Options, engine: Engine, timeout: float, stages: Stages) -> Read:
    """The page read by the engine, in whichever way."""
    size = page.width, page.height
    return lambda way: engine.read_words(page.gray, size, options.languages, way.psm, timeout, stages)
