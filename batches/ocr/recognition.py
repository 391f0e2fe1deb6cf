"""One page, read: in the way that was chosen, and in another where that gave nothing."""

import time
from statistics import fmean

from batches.documents import PageImage, Word
from batches.ocr.command import read_words
from batches.ocr.options import Options, Segmentation
from batches.ocr.results import TEXT_OF_PDF, PageResult, text_of

SCATTERED_SURE = 60.0  # confidence: where no line was found, drawings and stains give words of less


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
    words = _read(page, options, options.segmentation, timeout)
    if not words and options.segmentation is not Segmentation.SPARSE and not page.blank:
        found = _read(page, options, Segmentation.SPARSE, timeout)
        words = tuple(word for word in found if word.confidence >= SCATTERED_SURE)
    return words


def _read(page: PageImage, options: Options, segmentation: Segmentation, timeout: float) -> tuple[Word, ...]:
    return read_words(page.gray, (page.width, page.height), options.languages, segmentation.psm, timeout)
