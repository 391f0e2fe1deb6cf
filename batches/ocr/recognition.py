"""One page, read: in the way that was chosen, and in the next likely ones where that gave little."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from batches.documents import PageImage, Preparation, Word
from batches.errors import OcrError
from batches.ocr.engines import Engine
from batches.ocr.options import Options, Segmentation
from batches.ocr.results import TEXT_OF_PDF, PageResult, text_of
from batches.stages import Stages

Read = Callable[[Segmentation], tuple[Word, ...]]

logger = logging.getLogger(__name__)

# Tesseract's page segmentation modes (tesseract(1)).
OSD_AUTO, AUTO, COLUMN, BLOCK, SPARSE = 1, 3, 4, 6, 11
OTHER_WAYS = {AUTO: (COLUMN, SPARSE), COLUMN: (BLOCK, AUTO), BLOCK: (COLUMN, SPARSE), SPARSE: (BLOCK,)}
PSM_NAMES = {AUTO: "in columns", COLUMN: "as one column", BLOCK: "as one block", SPARSE: "as scattered words"}

POOR = 60.0  # mean confidence of a reading, below which another way is tried
POOR_CARD = 70.0  # of one whose material asks for more: a card is short, and read again in no time
FEW = 200  # letters of a page, below which it is a card or the like: read line by line
UNSURE = 60.0  # confidence of a word, below which it may be anything
LETTERS_A_WORD = 12.0  # where words have more of the page's letters on average, most have been missed
LYING_WRONG = 75.0  # mean confidence of a reading, below which the page may lie another way
BUDGET = 1.5  # times what the first reading took, for all others
LEAST_BUDGET = 2.0  # seconds
SCATTERED_SURE = 60.0  # confidence: where no line was found, drawings and stains give words of less
BLANK = "Blank page: there is nothing on it to read."
LookAgain = Callable[[int], PageImage]  # turned by so many degrees more than at first


@dataclass(frozen=True)
class Reading:
    """What one way of reading gave: the words, in the coordinates of the engine's image."""

    page: PageImage
    psm: int
    words: tuple[Word, ...]

    @property
    def confidence(self) -> float:
        """Of a letter, on average; 0 where there are none."""
        letters = sum(len(word.text) for word in self.words)
        return sum(word.confidence * len(word.text) for word in self.words) / letters if letters else 0.0

    @property
    def worth(self) -> float:
        """About how many letters were read right: by this readings of one page are compared."""
        return sum(
            len(word.text) * max(0.0, word.confidence - UNSURE) / (100 - UNSURE) for word in self.words
        )

    def is_poor(self, least: float) -> bool:
        """Whether another way of reading may give more."""
        few = self.page.letters > LETTERS_A_WORD * max(1, len(self.words))
        return self.confidence < least or few


@dataclass(frozen=True)
class Reader:
    """Reads a page once, in any way. `timeout` is in seconds; the time it takes is added to `stages`."""

    engine: Engine
    languages: tuple[str, ...]
    timeout: float
    stages: Stages

    def read(self, page: PageImage, psm: int) -> Reading:
        """Read what the engine's image shows. Raises what `Engine.read_words` raises."""
        words = self.engine.read_words(
            page.gray, page.gray_size, self.languages, psm, self.timeout, self.stages
        )
        return Reading(page, psm, words)


def recognise(
    page: PageImage, options: Options, *, engine: Engine, timeout: float, look_again: LookAgain | None = None
) -> PageResult:
    """Read one page in its private folder; `timeout` is in seconds a run. Words that came with it are taken.

    `look_again` makes the same page ready once more, in the same folder, turned otherwise: for pages of which it
    could not be measured which way up they lie.
    Raises EngineCrashed, EngineTimeout, OutOfMemory, LanguageMissing or EngineMissing.
    """
    started = time.monotonic()
    stages = Stages(page.seconds)
    if page.words is not None:
        words, note = page.words, page.note
    elif page.blank:
        words, note = (), f"{page.note} {BLANK}".strip()
    else:
        reader = Reader(engine, options.languages, timeout, stages)
        page, words, how = _read(page, options, reader, look_again)
        note = f"{page.note} {how}".strip()
    return PageResult(
        text=text_of(words),
        words=words,
        confidence=round(fmean(word.confidence for word in words), 1) if words else None,
        width=page.width,
        height=page.height,
        dpi=page.dpi,
        engine=engine.name if page.words is None else TEXT_OF_PDF,
        seconds=round(time.monotonic() - started, 2),
        rotation=page.rotation,
        skew=page.skew,
        note=note,
        timings=stages.seconds,
    )


def _read(
    page: PageImage, options: Options, reader: Reader, look_again: LookAgain | None
) -> tuple[PageImage, tuple[Word, ...], str]:
    """The page as it was read, its words in its own pixels, and a remark."""
    started = time.monotonic()
    first = best = reader.read(page, _psm(page, options))
    if options.preparation is not Preparation.OFF:
        took = time.monotonic() - started
        budget = min(max(LEAST_BUDGET, BUDGET * took), reader.timeout / 2)
        again = replace(reader, timeout=budget)
        best = _best(first, _others(first, again, look_again, options), time.monotonic() + budget)
    words = best.words or _scattered(best, reader)
    return best.page, tuple(_in_page(word, best.page) for word in words), _told(first, best)


def _best(first: Reading, others: Iterator[Reading], deadline: float) -> Reading:
    """The best reading there is, of those there is time for."""
    best = first
    while time.monotonic() < deadline and (other := next(others, None)):
        best = max(best, other, key=lambda reading: reading.worth)
    return best


def _others(
    first: Reading, reader: Reader, look_again: LookAgain | None, options: Options
) -> Iterator[Reading]:
    """The next likely ways of reading the page, until one is good enough, or fails.

    The images in its folder are those of the best one so far.
    """
    best = first
    for turn in first.page.doubts if look_again else ():
        if best.confidence >= LYING_WRONG:
            break
        assert look_again
        other = _tried(reader, partial(_opened, look_again, turn, reader.stages), first.psm)
        if other and other.worth > best.worth:
            best = other
        else:
            look_again((best.page.rotation - first.page.rotation) % 360)
        if not other:
            return
        yield other
    for psm in OTHER_WAYS.get(first.psm, ()):
        if not best.is_poor(POOR_CARD if options.segmentation is Segmentation.CARD else POOR):
            break
        if not (other := _tried(reader, partial(_same, best.page), psm)):
            return
        best = max(best, other, key=lambda reading: reading.worth)
        yield other


def _opened(look_again: LookAgain, turn: int, stages: Stages) -> PageImage:
    page = look_again(turn)
    for stage, seconds in page.seconds.items():
        stages.add(stage, seconds)
    return page


def _same(page: PageImage) -> PageImage:
    return page


def _tried(reader: Reader, look: Callable[[], PageImage], psm: int) -> Reading | None:
    """Another reading. What fails now costs nothing: there is one already."""
    try:
        return reader.read(look(), psm)
    except (OcrError, OSError) as error:
        logger.info("Another way of reading a page failed: %s", error)
        return None


def _psm(page: PageImage, options: Options) -> int:
    match options.segmentation:
        case Segmentation.AUTO if page.columns is None:
            return OSD_AUTO
        case Segmentation.AUTO if page.columns:
            return AUTO
        case Segmentation.AUTO:
            return COLUMN if page.letters >= FEW else BLOCK
        case Segmentation.SPARSE:
            return SPARSE
        case _:
            return BLOCK


def _scattered(reading: Reading, reader: Reader) -> tuple[Word, ...]:
    """An empty text is looked at, not believed: words that stand alone are looked for once."""
    if reading.psm == SPARSE or reading.page.blank:
        return ()
    found = reader.read(reading.page, SPARSE).words
    return tuple(word for word in found if word.confidence >= SCATTERED_SURE)


def _in_page(word: Word, page: PageImage) -> Word:
    """The word with its box in the page's own pixels."""
    if page.scale == 1.0 and not page.left and not page.top:
        return word
    return word._replace(
        left=page.left + round(word.left / page.scale),
        top=page.top + round(word.top / page.scale),
        width=max(1, round(word.width / page.scale)),
        height=max(1, round(word.height / page.scale)),
    )


def _told(first: Reading, best: Reading) -> str:
    if best is first:
        return ""
    if best.page.rotation != first.page.rotation:
        return "The page was turned, because the first reading gave little."
    return f"Read {PSM_NAMES[best.psm]}, because the first reading gave little."
