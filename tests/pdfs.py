"""Draws PDF files: text by a standard font, scans as images, and both, on pages made by hand."""

from pathlib import Path

import pikepdf
from pikepdf import Dictionary, Name, Page, Pdf, Stream
from PIL import Image

LETTER = (612, 792)  # points


def text(lines: list[str], *, mode: int = 0, colour: str = "0 g", size: int = 14, top: int = 700) -> str:
    """Content that writes the lines; `mode` 3 is invisible."""
    shown = "".join(f"({_escaped(line)}) Tj T* " for line in lines)
    return f"BT {colour} {mode} Tr /F1 {size} Tf {size + 6} TL 72 {top} Td {shown} ET "


def image_at(left: float, bottom: float, width: float, height: float) -> str:
    """Content that draws the page's image into that box, in points."""
    return f"q {width} 0 0 {height} {left} {bottom} cm /Im0 Do Q "


def image_by(a: float, b: float, c: float, d: float, e: float, f: float) -> str:
    """The same by a matrix."""
    return f"q {a} {b} {c} {d} {e} {f} cm /Im0 Do Q "


def add_page(
    pdf: Pdf,
    content: str,
    *,
    image: Image.Image | None = None,
    size: tuple[float, float] = LETTER,
    to_unicode: str = "",
    **keys: pikepdf.Object | int,
) -> Page:
    """A page with the content; `image` is its /Im0. Further keys go into the page, or the image by `image_…`."""
    font = Dictionary(
        Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica, Encoding=Name.WinAnsiEncoding
    )
    font = pdf.make_indirect(font)
    if to_unicode:
        font.ToUnicode = Stream(pdf, to_unicode.encode())
    resources = Dictionary(Font=Dictionary(F1=font))
    if image is not None:
        of_image = {
            key.removeprefix("image_"): value for key, value in keys.items() if key.startswith("image_")
        }
        resources.XObject = Dictionary(Im0=as_stream(pdf, image, **of_image))
    page = pdf.add_blank_page(page_size=size)
    page.Resources = resources
    page.Contents = Stream(pdf, content.encode("latin-1"))
    for key, value in keys.items():
        if not key.startswith("image_"):
            page[f"/{key}"] = value
    return page


def as_stream(pdf: Pdf, image: Image.Image, **keys: pikepdf.Object | int) -> Stream:
    """The image as the PDF keeps it, losslessly."""
    stream = Stream(pdf, image.tobytes())
    stream.Type, stream.Subtype = Name.XObject, Name.Image
    stream.Width, stream.Height = image.size
    stream.ColorSpace = {
        "1": Name.DeviceGray,
        "L": Name.DeviceGray,
        "RGB": Name.DeviceRGB,
        "CMYK": Name.DeviceCMYK,
    }[image.mode]
    stream.BitsPerComponent = 1 if image.mode == "1" else 8
    for key, value in keys.items():
        stream[f"/{key}"] = value
    return stream


def write_text_pdf(path: Path, *pages: list[str]) -> Path:
    """A born-digital PDF, a page for each list of lines."""
    with Pdf.new() as pdf:
        for lines in pages:
            add_page(pdf, text(lines))
        pdf.save(path)
    return path


def cmap(first: int, last: int, to: int) -> str:
    """A ToUnicode map of the codes `first`–`last` to the characters from `to` on."""
    return (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def\n"
        "1 begincodespacerange <00> <FF> endcodespacerange\n"
        f"1 beginbfrange <{first:02X}> <{last:02X}> <{to:04X}> endbfrange\n"
        "endcmap end end"
    )


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
