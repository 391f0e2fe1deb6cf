"""What one page says: words, text, confidence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from batches.documents import Word

TEXT_OF_PDF = "the PDF's own text"  # the engine of pages that were not read


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
    skew: float = 0.0  # degrees clockwise by which it was tilted then, and has been straightened
    note: str = ""
    recognised_before: bool = False  # not read this time
    timings: Mapping[str, float] = field(default_factory=dict)  # seconds by stage (`batches.stages`)


def text_of(words: Iterable[Word]) -> str:
    """The words as Tesseract's own text output has them: a line a line, an empty one between paragraphs."""
    paragraphs = (
        "\n".join(
            " ".join(word.text for word in line) for _, line in groupby(paragraph, key=lambda word: word.line)
        )
        for _, paragraph in groupby(words, key=lambda word: (word.block, word.paragraph))
    )
    return "\n\n".join(paragraphs)
