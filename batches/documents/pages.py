"""What is told of files and pages, and the limits under which they are opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from batches.documents.kinds import Kind


@dataclass(frozen=True)
class Limits:
    """How large a file and its pages may be, and what opening them may cost."""

    max_pages: int = 100_000  # a file
    max_pixels: int = 120_000_000  # a page
    max_file_bytes: int = 2 * 1024**3
    seconds: float = 18.0  # for looking at one file, or opening one page
    memory: int = 1536 * 1024**2  # bytes of address space
    zip_entries: int = 20_000
    zip_bytes: int = 20 * 1024**3  # of all files of an archive, unpacked
    zip_ratio: int = 200  # unpacked bytes a packed one


@dataclass(frozen=True)
class Document:
    """A file with pages: its kind, their number (1 or more), and a remark for the user."""

    kind: Kind
    pages: int
    note: str = ""


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


@dataclass(frozen=True)
class PageImage:
    """A page, opened: upright by the file's own word, its images written to `folder`. Sizes in pixels.

    `words` is None where the page has to be read; else they came with the file, and `gray` is not written.
    """

    folder: Path
    width: int
    height: int
    dpi: int | None
    blank: bool = False
    note: str = ""
    words: tuple[Word, ...] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage, as measured in the cage

    @property
    def gray(self) -> Path:
        """For the engine: an uncompressed TIFF, the fastest to write and for Tesseract to read."""
        return self.folder / "page.tif"

    @property
    def rendition(self) -> Path:
        """For people's eyes: a JPEG of the same size, or smaller where JPEG has no room for that."""
        return self.folder / "page.jpg"
