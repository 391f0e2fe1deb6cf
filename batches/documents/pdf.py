"""PDF: counted, repaired where it is damaged, and page by page either taken as text or made an image.

Runs in the cage only.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pikepdf
import pypdfium2 as pdfium
from PIL import Image
from pypdfium2 import raw as pdfium_c

from batches.documents.images import check_size, write_page
from batches.documents.kinds import Kind
from batches.documents.layers import Layout, lay_out
from batches.documents.pages import WEIGHED, Document, Known, Limits, Look, PageImage
from batches.documents.scanned import own_dpi, pixel_size, take_scan
from batches.documents.textlayer import take_words
from batches.errors import CorruptFile, Encrypted, OcrError, TooLarge

PDF_DPI = 300  # what Tesseract's models were trained for
BORN_DIGITAL_DPI = 200  # for people's eyes only
MIN_RENDER_DPI = 70
WEIGH_SECONDS = 0.1  # some fifty scanned pages
DRAWN_SMALLER = 4  # a picture may have so many times a page's pixels: it is drawn with fewer
REPAIRED = "The PDF was damaged and has been repaired: see that no page is missing."


def inspect_pdf(path: Path, folder: Path) -> Document:
    """Count the pages. Raises Encrypted or CorruptFile."""
    with _opened(path, folder) as (pdf, note):
        return Document(Kind.PDF, len(pdf), note)


def weigh_pdf(path: Path, folder: Path, limits: Limits) -> list[float]:
    """How many megapixels the first pages will have, or the pictures on them that have to be decoded.

    As many pages as there is time for; 0 for one that cannot be laid out.
    """
    found: list[float] = []
    deadline = time.monotonic() + WEIGH_SECONDS
    with _opened(path, folder) as (pdf, _):
        while len(found) < min(len(pdf), WEIGHED) and time.monotonic() < deadline:
            found.append(_megapixels(pdf, len(found), limits.max_pixels))
    return found


def _megapixels(pdf: pdfium.PdfDocument, index: int, max_pixels: int) -> float:
    try:
        page = pdf[index]
        layout = lay_out(page)
        width, height = page.get_size()
        dpi = _render_dpi(width, height, own_dpi(page, layout) or PDF_DPI, max_pixels)
        pictures = [across * down for across, down in map(pixel_size, layout.pictures)]
        return float(max(width * height * (dpi / 72) ** 2, *pictures, 0)) / 1e6
    except (pdfium.PdfiumError, OcrError):
        return 0.0


def load_pdf_page(
    path: Path,
    index: int,
    folder: Path,
    limits: Limits,
    *,
    keep_text: bool,
    look: Look,
    known: Known | None = None,
) -> PageImage:
    """The page's words where its text is good and wanted; else its scan as it is, or the page rendered."""
    with _opened(path, folder) as (pdf, _):
        try:
            pdf.init_forms()
            page = pdf[index]
            layout = lay_out(page)
            note = ""
            if keep_text:
                words, note = take_words(page, layout, BORN_DIGITAL_DPI / 72)
                if words is not None:
                    image, dpi = _render(page, BORN_DIGITAL_DPI, limits.max_pixels)
                    if dpi != BORN_DIGITAL_DPI:
                        words, note = take_words(page, layout, dpi / 72)
                    return write_page(image, dpi, folder, note, words=words)
            image, own = _image(page, layout, limits.max_pixels)
        except (pdfium.PdfiumError, IndexError) as error:
            raise CorruptFile(
                "This page of the PDF cannot be drawn. Export it again and upload it."
            ) from error
        return write_page(image, own, folder, note, look=look, known=known)


def _image(page: pdfium.PdfPage, layout: Layout, max_pixels: int) -> tuple[Image.Image, int | None]:
    for picture in layout.pictures:
        check_size(*pixel_size(picture), DRAWN_SMALLER * max_pixels)
    if scan := take_scan(page, layout, max_pixels):
        return scan
    return _render(page, own_dpi(page, layout) or PDF_DPI, max_pixels)


@contextmanager
def _opened(path: Path, folder: Path) -> Iterator[tuple[pdfium.PdfDocument, str]]:
    """The PDF, and a remark if it had to be repaired."""
    note = ""
    pdf = _try(path)
    if pdf is None:
        pdf, note = _try(_repair(path, folder)), REPAIRED
    if pdf is None:
        raise CorruptFile
    try:
        yield pdf, note
    finally:
        pdf.close()


def _try(path: Path) -> pdfium.PdfDocument | None:
    """None where pdfium cannot open it, or finds no page in it."""
    try:
        pdf = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if error.err_code == pdfium_c.FPDF_ERR_PASSWORD:
            raise Encrypted from error
        return None
    if len(pdf):
        return pdf
    pdf.close()
    return None


def _repair(path: Path, folder: Path) -> Path:
    """A copy that qpdf has put together again."""
    repaired = folder / "repaired.pdf"
    try:
        with pikepdf.open(path) as pdf:
            if not len(pdf.pages):
                raise CorruptFile("The file has no pages. Export it again and upload the new copy.")
            pdf.save(repaired)
    except pikepdf.PasswordError as error:
        raise Encrypted from error
    except (pikepdf.PdfError, RuntimeError) as error:
        raise CorruptFile from error
    return repaired


def _render(page: pdfium.PdfPage, wanted_dpi: int, max_pixels: int) -> tuple[Image.Image, int]:
    width, height = page.get_size()
    dpi = _render_dpi(width, height, wanted_dpi, max_pixels)
    image = page.render(scale=dpi / 72).to_pil()
    expected = (width * dpi / 72, height * dpi / 72)
    if any(abs(got - wanted) > 2 for got, wanted in zip(image.size, expected, strict=True)):
        raise CorruptFile("This page of the PDF was drawn at a wrong size. Export it again and upload it.")
    return image.convert("RGB"), dpi


def _render_dpi(width: float, height: float, wanted: int, max_pixels: int) -> int:
    """The resolution for a page of `width` × `height` points: as wanted, or what the pixel limit allows."""
    square_inches = (width / 72) * (height / 72)
    if square_inches <= 0:
        raise CorruptFile("The page has no area. Export the PDF again and upload it.")
    dpi = min(wanted, int((max_pixels / square_inches) ** 0.5))
    if dpi < MIN_RENDER_DPI:
        raise TooLarge(
            f"The page measures {width / 72:.0f} × {height / 72:.0f} inches, more than can be read. "
            "Export it at its real size."
        )
    return dpi
