"""What is told of files and pages, and the limits under which they are opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from batches.documents.kinds import Kind

GRAY, RENDITION = "page.tif", "page.jpg"  # in a page's private folder
WEIGHED = 500  # pages of a file at the most whose size is looked at
PREPARATION_VERSION = 1  # one more whenever pages come out otherwise, or `ocr.recognition` chooses otherwise


@dataclass(frozen=True)
class Limits:
    """How large a file and its pages may be, and what opening them may cost."""

    max_pages: int = 100_000  # a file
    max_pixels: int = 120_000_000  # a page
    max_file_bytes: int = 2 * 1024**3
    seconds: float = 18.0  # for looking at one file, or opening one page
    memory: int = 2048 * 1024**2  # bytes of address space
    zip_entries: int = 20_000
    zip_bytes: int = 20 * 1024**3  # of all files of an archive, unpacked
    zip_ratio: int = 200  # unpacked bytes a packed one


@dataclass(frozen=True)
class Document:
    """A file with pages: its kind, their number (1 or more), and a remark for the user.

    `megapixels` is how large the first pages are, as far as that can be told without decoding them: 0 where it
    cannot. Pages beyond are taken to be like the last of these.
    """

    kind: Kind
    pages: int
    note: str = ""
    megapixels: tuple[float, ...] = field(default=(), compare=False)

    def megapixels_of(self, index: int) -> float:
        """How large page `index` (from 0) is, or seems to be; 0 where nothing is known."""
        return self.megapixels[min(index, len(self.megapixels) - 1)] if self.megapixels else 0.0


@dataclass(frozen=True)
class Member:
    """A file in an archive: its path there, and its size in bytes as the archive declares it."""

    name: str
    size: int


@dataclass(frozen=True)
class Archive:
    """A file that holds others, in their natural order: the first is member 1."""

    members: tuple[Member, ...]


class Word(NamedTuple):
    """One word: where it stands in the page's order, its box in pixels, its confidence (0–100)."""

    block: int
    paragraph: int
    line: int
    number: int
    left: int
    top: int
    width: int
    height: int
    confidence: float
    text: str


class Preparation(StrEnum):
    """What is done to a page's image before it is read."""

    AUTO = "auto"  # turned upright, straightened, scaled, cleaned: what it needs
    FADED = "faded"  # the same, and pale ink made dark, on stained paper too
    OFF = "off"  # read as it is


@dataclass(frozen=True)
class Look:
    """How a page is to be made ready.

    `rotation`: degrees clockwise by which its user says that it is to be turned, a multiple of 90; where that is
    not 0, the page is not turned by what was measured. `more`: by so many degrees more than was measured. `latin`:
    its letters are Latin ones, of which it can be measured whether they stand on their head.
    """

    rotation: int = 0
    preparation: Preparation = Preparation.OFF
    more: int = 0
    latin: bool = True


AS_IT_IS = Look()


@dataclass(frozen=True)
class Stance:
    """How a page that is known already stands: `rotation` and `skew` in degrees clockwise, as in PageImage."""

    rotation: int = 0
    skew: float = 0.0


Known = Callable[[str], Stance | None]  # how the page of this digest stands, if it is known


@dataclass(frozen=True)
class PageImage:
    """A page, opened: upright, its images written to `folder`. Sizes in pixels.

    `words` is None where the page has to be read; else they came with the file, and `gray` is not written.
    `gray` shows the part of the page that begins at `left`, `top` (in the page's pixels), `scale` times as large.
    `digest` (SHA-256 in hex) tells the same page again, whatever file it comes in; it is empty where nobody
    asked for it. `known`: who asked knows the page already, and `gray` is not written either.
    """

    folder: Path
    width: int
    height: int
    dpi: int | None
    blank: bool = False
    note: str = ""
    words: tuple[Word, ...] | None = None
    rotation: int = 0  # degrees clockwise by which it was turned, against the file
    skew: float = 0.0  # degrees clockwise by which it was tilted then, and has been straightened
    left: int = 0
    top: int = 0
    scale: float = 1.0
    gray_size: tuple[int, int] = (0, 0)  # width, height
    columns: bool | None = None  # more than one; None where nobody has looked
    doubts: tuple[int, ...] = ()  # degrees by which it may have to be turned yet, the likeliest first
    letters: int = 0  # about so many are on it, as far as that was measured
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage
    digest: str = ""
    known: bool = False

    @property
    def gray(self) -> Path:
        """For the engine: an uncompressed TIFF, the fastest to write and for Tesseract to read."""
        return self.folder / GRAY

    @property
    def rendition(self) -> Path:
        """For people's eyes: a JPEG of the same size, or smaller where JPEG has no room for that."""
        return self.folder / RENDITION
