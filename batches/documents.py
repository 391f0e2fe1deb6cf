"""What a file is, how many pages it has, and a page as an image. Knows no Django.

A file is what its content says, never what its name says. Only Pillow and pdfium see the user's bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pypdfium2 as pdfium
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from pypdfium2 import raw as pdfium_c

from batches.errors import CorruptFile, Encrypted, FileError, SourceMissing, TooLarge, UnsupportedType

Image.MAX_IMAGE_PIXELS = None  # the limit is ours: `check_size`, before anything is decoded

PDF_DPI = 300  # what Tesseract's models were trained for
PLAUSIBLE_DPI = range(70, 2401)  # outside it, the file's word is worth nothing
MIN_RENDER_DPI = 70
JPEG_MAX_SIDE = 65_500  # JPEG_MAX_DIMENSION in libjpeg's jmorecfg.h


class Kind(StrEnum):
    """The types of file that are read, by Pillow's names for them."""

    PNG = "PNG"
    JPEG = "JPEG"
    TIFF = "TIFF"
    PDF = "PDF"


IMAGE_FORMATS = [kind.value for kind in Kind if kind is not Kind.PDF]


@dataclass(frozen=True)
class Document:
    """What `inspect` found: the file's kind, and its number of pages (1 or more)."""

    kind: Kind
    pages: int


@dataclass(frozen=True)
class PageImage:
    """A page as people see it, upright by the file's own word: mode `L` or `RGB`, and dpi where known."""

    image: Image.Image
    dpi: int | None

    def turned(self, degrees: int) -> "PageImage":
        """The page turned clockwise by 0, 90, 180 or 270 degrees."""
        return PageImage(self.image.rotate(-degrees, expand=True), self.dpi) if degrees else self


def inspect(path: Path, max_pages: int) -> Document:
    """Tell what the file is and count its pages, without decoding any.

    Raises UnsupportedType, CorruptFile, Encrypted, TooLarge (more than `max_pages`) or SourceMissing.
    """
    if _is_pdf(path):
        with _open_pdf(path) as pdf:
            document = Document(Kind.PDF, len(pdf))
    else:
        with _open_image(path) as image:
            # MPO is what Pillow calls a JPEG that carries a second picture, as many cameras write them.
            kind = Kind.JPEG if image.format == "MPO" else Kind(image.format or "")
            # Frames elsewhere are no pages: a camera's preview, an animation.
            frames: int = getattr(image, "n_frames", 1) if kind is Kind.TIFF else 1
            document = Document(kind, frames)
    if document.pages < 1:
        raise CorruptFile("The file has no pages. Export it again and upload the new copy.")
    if document.pages > max_pages:
        raise TooLarge(
            f"The file has {document.pages} pages; a batch takes {max_pages} at the most. Split the file."
        )
    return document


def load_page(path: Path, kind: Kind, index: int, max_pixels: int) -> PageImage:
    """Decode or render page `index` (from 0) of the file.

    Raises CorruptFile, Encrypted, TooLarge (more than `max_pixels`) or SourceMissing.
    """
    if kind is Kind.PDF:
        return _render_pdf_page(path, index, max_pixels)
    with _open_image(path) as image:
        frame = _seek(image, index)
        check_size(frame.width, frame.height, max_pixels)
        dpi = _plausible_dpi(frame.info.get("dpi"))
        return PageImage(_as_seen(frame), dpi)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise TooLarge where the page has more than `max_pixels` pixels."""
    if width * height > max_pixels:
        raise TooLarge(
            f"The page has {width} × {height} pixels; {max_pixels / 1e6:.0f} million are read at the most. "
            "Scan it at a lower resolution."
        )


def write_rendition(image: Image.Image, path: Path) -> None:
    """Write the page for people's eyes, as a JPEG of the same size in pixels (which libjpeg bounds)."""
    if max(image.size) > JPEG_MAX_SIDE:
        image = ImageOps.contain(image, (JPEG_MAX_SIDE, JPEG_MAX_SIDE))
    image.save(path, "JPEG", quality=80)


# ------------------------------------------------------------------ images


@contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    """The file opened by Pillow, with whatever goes wrong inside the block told as a FileError."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            yield image
    except FileNotFoundError as error:
        raise SourceMissing from error
    except UnidentifiedImageError as error:
        raise UnsupportedType from error
    except FileError:
        raise
    except MemoryError as error:
        raise TooLarge from error
    except OSError as error:
        if error.errno is not None:  # the disk's trouble, not the file's
            raise
        raise CorruptFile from error
    except (SyntaxError, ValueError, EOFError, KeyError, IndexError, OverflowError, TypeError) as error:
        raise CorruptFile from error  # what Pillow's decoders raise on damaged files


def _seek(image: Image.Image, index: int) -> Image.Image:
    try:
        return ImageSequence.Iterator(image)[index]
    except (EOFError, IndexError) as error:
        raise CorruptFile("The page is missing from the file. Export it again and upload it.") from error


def _plausible_dpi(dpi: tuple[float, float] | None) -> int | None:
    value = round(float(dpi[0])) if dpi else 0
    return value if value in PLAUSIBLE_DPI else None


def _as_seen(frame: Image.Image) -> Image.Image:
    """Decode to mode `L` or `RGB`: turned as the camera says, transparency on white, 16 bits as 8."""
    image = _as_eight_bits(ImageOps.exif_transpose(frame))
    image.info.clear()  # compression, profiles and tags of the original, which would come along when we write
    return image


def _as_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


# ------------------------------------------------------------------ PDF


def _is_pdf(path: Path) -> bool:
    """Readers look for the header in the first 1,024 bytes (ISO 32000-1, annex H.3.4.1)."""
    try:
        with path.open("rb") as file:
            return b"%PDF-" in file.read(1024)
    except FileNotFoundError as error:
        raise SourceMissing from error


@contextmanager
def _open_pdf(path: Path) -> Iterator[pdfium.PdfDocument]:
    if not path.exists():
        raise SourceMissing
    try:
        pdf = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        raise Encrypted if error.err_code == pdfium_c.FPDF_ERR_PASSWORD else CorruptFile from error
    try:
        yield pdf
    finally:
        pdf.close()


def _render_pdf_page(path: Path, index: int, max_pixels: int) -> PageImage:
    with _open_pdf(path) as pdf:
        try:
            page = pdf[index]
            width, height = page.get_size()
            dpi = _render_dpi(width, height, max_pixels)
            image = page.render(scale=dpi / 72).to_pil()
        except (pdfium.PdfiumError, IndexError) as error:
            raise CorruptFile(
                "This page of the PDF cannot be drawn. Export it again and upload it."
            ) from error
        expected = (width * dpi / 72, height * dpi / 72)
        if any(abs(got - wanted) > 2 for got, wanted in zip(image.size, expected, strict=True)):
            raise CorruptFile(
                "This page of the PDF was drawn at a wrong size. Export it again and upload it."
            )
        return PageImage(image.convert("RGB"), dpi)


def _render_dpi(width: float, height: float, max_pixels: int) -> int:
    """The resolution for a page of `width` × `height` points: 300 dpi, or what the pixel limit allows."""
    square_inches = (width / 72) * (height / 72)
    if square_inches <= 0:
        raise CorruptFile("The page has no area. Export the PDF again and upload it.")
    dpi = min(PDF_DPI, int((max_pixels / square_inches) ** 0.5))
    if dpi < MIN_RENDER_DPI:
        raise TooLarge(
            f"The page measures {width / 72:.0f} × {height / 72:.0f} inches, more than can be read. "
            "Export it at its real size."
        )
    return dpi
