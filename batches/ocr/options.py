"""How pages are read: a closed set of choices, by names that people know."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from batches.documents import Look
from batches.documents import Preparation as Preparation
from batches.errors import BadOptions
from batches.ocr.languages import is_latin

ROTATIONS = (0, 90, 180, 270)  # degrees clockwise


class Segmentation(StrEnum):
    """How a page is cut into lines, by names people know."""

    AUTO = "auto"
    BLOCK = "block"
    SPARSE = "sparse"
    CARD = "card"


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
    preparation: Preparation = Preparation.AUTO

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
                Preparation(data.get("preparation", Preparation.OFF)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadOptions from error
        if not languages or options.rotation not in ROTATIONS or data.keys() - asdict(options).keys():
            raise BadOptions
        return options

    def look(self, more: int = 0) -> Look:
        """How pages are made ready to be read so. What is written in columns from the top is left as it is."""
        down = any(language.endswith("_vert") for language in self.languages)
        preparation = Preparation.OFF if down else self.preparation
        return Look(self.rotation, preparation, more, latin=all(map(is_latin, self.languages)))

    def as_json(self) -> dict[str, Any]:
        """What `parse` reads back."""
        return asdict(self) | {"languages": list(self.languages)}
