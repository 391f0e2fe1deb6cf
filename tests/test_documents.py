"""What a file is and how it becomes a page, by its content, on drawn files of each kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from batches.documents import Document, Kind, Limits, PageImage, inspect, load_page
from batches.documents.images import write_page
from batches.errors import CorruptFile, FileError, SourceMissing, TooLarge, UnsupportedType
from tests.scans import draw, lines_of, scan, write_many_pages, write_scans

LIMITS = Limits(max_pages=10, max_pixels=10_000_000)
TAG_ORIENTATION, TAG_PHOTOMETRIC = 0x0112, 262


def load(path: Path, index: int = 0, limits: Limits = LIMITS) -> PageImage:
    """Page `index` of the file, as a worker opens it."""
    document = inspect(path, limits)
    assert isinstance(document, Document)
    folder = path.parent / "opened"
    folder.mkdir(exist_ok=True)
    return load_page(path, document.kind, index, folder, limits)


def seen(path: Path, index: int = 0) -> Image.Image:
    """The page as people get to see it."""
    with Image.open(load(path, index).rendition) as image:
        image.load()
        return image


def assert_is_the_page(image: Image.Image) -> None:
    """Paper is light, ink is dark, and the first line is at the top left."""
    gray = image.convert("L")
    histogram = gray.histogram()
    assert sum(histogram[235:]) > 0.8 * sum(histogram)
    assert sum(histogram[:60]) > 0.005 * sum(histogram)
    width, height = gray.size
    dark = [
        sum(gray.crop(box).histogram()[:100])
        for box in ((0, 0, width, height // 2), (0, height // 2, width, height))
    ]
    assert dark[0] > 2 * dark[1]


def page() -> Image.Image:
    """Three lines in the upper half: upside down, mirrored or inverted is not the same."""
    return draw(lines_of(1)[:3])


SAVED: dict[str, Callable[[Image.Image], tuple[Image.Image, str, dict[str, Any]]]] = {
    "png": lambda im: (im, "PNG", {}),
    "png palette": lambda im: (im.convert("P"), "PNG", {}),
    "png 16 bits": lambda im: (im.convert("I").point(lambda v: v * 257).convert("I;16"), "PNG", {}),
    "png 1 bit": lambda im: (im.convert("1"), "PNG", {}),
    "png gray and alpha": lambda im: (im.convert("LA"), "PNG", {}),
    "jpeg": lambda im: (im, "JPEG", {}),
    "jpeg colour, progressive": lambda im: (im.convert("RGB"), "JPEG", {"progressive": True}),
    "jpeg cmyk": lambda im: (im.convert("CMYK"), "JPEG", {}),
    "jpeg of a camera": lambda im: (im, "MPO", {"save_all": True, "append_images": [scan(2)]}),
    "tiff g3": lambda im: (im.convert("1"), "TIFF", {"compression": "group3"}),
    "tiff g4": lambda im: (im.convert("1"), "TIFF", {"compression": "group4"}),
    "tiff g4, white is zero": lambda im: (
        im.convert("1"),
        "TIFF",
        {"compression": "group4", "tiffinfo": {TAG_PHOTOMETRIC: 0}},
    ),
    "tiff lzw": lambda im: (im.convert("RGB"), "TIFF", {"compression": "tiff_lzw"}),
    "tiff palette": lambda im: (im.convert("P"), "TIFF", {}),
    "tiff cmyk": lambda im: (im.convert("CMYK"), "TIFF", {}),
    "tiff 16 bits": lambda im: (im.convert("I").point(lambda v: v * 257).convert("I;16"), "TIFF", {}),
    "tiff 12 bits in 16": lambda im: (im.convert("I").point(lambda v: v * 16).convert("I;16"), "TIFF", {}),
    "tiff 32 bits": lambda im: (im.convert("I").point(lambda v: v * 257), "TIFF", {}),
    "tiff floating point": lambda im: (im.convert("F").point(lambda v: v * (1 / 255) + 0), "TIFF", {}),
    "bmp": lambda im: (im, "BMP", {}),
    "bmp 1 bit": lambda im: (im.convert("1"), "BMP", {}),
    "gif": lambda im: (im, "GIF", {}),
    "webp": lambda im: (im.convert("RGB"), "WEBP", {}),
    "jpeg 2000": lambda im: (im, "JPEG2000", {}),
    "pgm": lambda im: (im, "PPM", {}),
    "pbm": lambda im: (im.convert("1"), "PPM", {}),
    "pgm 16 bits": lambda im: (im.convert("I").point(lambda v: v * 257), "PPM", {}),
    "avif": lambda im: (im.convert("RGB"), "AVIF", {}),
}
KINDS = {"jpeg of a camera": Kind.JPEG, "pgm": Kind.PNM, "pbm": Kind.PNM, "pgm 16 bits": Kind.PNM}


@pytest.mark.parametrize("how", SAVED)
def test_each_kind_becomes_the_same_page(tmp_path: Path, how: str):
    """Whatever the file's colours and polarity: paper stays light and ink stays dark."""
    image, format_, options = SAVED[how](page())
    image.save(tmp_path / "scan", format_, **options)
    assert inspect(tmp_path / "scan", LIMITS) == Document(KINDS.get(how) or Kind(format_), 1)
    shown = seen(tmp_path / "scan")
    assert shown.size == (1000, 700)
    assert_is_the_page(shown)


def test_white_is_zero_in_sixteen_bits_too(tmp_path: Path):
    image = page().point(lambda level: 255 - level).convert("I").point(lambda level: level * 257)
    image.convert("I;16").save(tmp_path / "scan", "TIFF", tiffinfo={TAG_PHOTOMETRIC: 0})
    content = bytearray((tmp_path / "scan").read_bytes())
    at = content.index((TAG_PHOTOMETRIC).to_bytes(2, "little") + b"\3\0\1\0\0\0")  # SHORT, one value
    content[at + 8] = 0
    (tmp_path / "scan").write_bytes(content)
    assert_is_the_page(seen(tmp_path / "scan"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_paper_is_white(tmp_path: Path, mode: str):
    image = Image.new("RGBA", (400, 300), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((40, 40), "ink", fill=(0, 0, 0, 255), font_size=60)
    image.convert(mode).save(tmp_path / "scan.png")
    gray = seen(tmp_path / "scan.png").convert("L")
    assert gray.getpixel((390, 290)) == 255
    assert gray.getextrema()[0] < 50  # type: ignore[operator]


@pytest.mark.parametrize("format_", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_a_page_stored_sideways_is_turned_as_its_tag_says(tmp_path: Path, format_: str):
    exif = Image.Exif()
    exif[TAG_ORIENTATION] = 6  # to be turned by 90° clockwise
    page().convert("RGB").rotate(90, expand=True).save(tmp_path / "photo", format_, exif=exif)
    shown = seen(tmp_path / "photo")
    assert shown.size == (1000, 700)
    assert_is_the_page(shown)


def test_frames_of_several_sizes_resolutions_and_directions_are_pages(tmp_path: Path):
    small = page().resize((500, 350))
    frames = [page().convert("1"), small.convert("RGB"), page().rotate(180)]
    frames[1].encoderinfo = {"dpi": (100, 100)}
    frames[2].encoderinfo = {"dpi": (300, 300), "tiffinfo": {TAG_ORIENTATION: 3}}
    frames[0].save(tmp_path / "box.tif", save_all=True, append_images=frames[1:], dpi=(200, 200))
    assert inspect(tmp_path / "box.tif", LIMITS) == Document(Kind.TIFF, 3)
    pages = [load(tmp_path / "box.tif", index) for index in range(3)]
    assert [(page.width, page.height, page.dpi) for page in pages] == [
        (1000, 700, 200),
        (500, 350, 100),
        (1000, 700, 300),
    ]
    for index in range(3):
        assert_is_the_page(seen(tmp_path / "box.tif", index))


def test_a_faxs_pixels_become_square(tmp_path: Path):
    page().resize((1000, 343)).convert("1").save(tmp_path / "fax.tif", dpi=(204, 98), compression="group3")
    opened = load(tmp_path / "fax.tif")
    assert (opened.width, opened.height, opened.dpi) == (1000, 714, 204)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "AVIF"])
def test_of_an_animation_the_first_frame_is_read_and_that_is_told(tmp_path: Path, format_: str):
    page().convert("RGB").save(
        tmp_path / "moving", format_, save_all=True, append_images=[scan(2).convert("RGB")]
    )
    note = "First of 2 frames; the others are not read."
    assert inspect(tmp_path / "moving", LIMITS) == Document(Kind(format_), 1, note)
    assert load(tmp_path / "moving").note == note
    assert_is_the_page(seen(tmp_path / "moving"))


@pytest.mark.parametrize(("suffix", "kind"), [(".tif", Kind.TIFF), (".pdf", Kind.PDF)])
def test_every_page_of_a_file_counts(tmp_path: Path, suffix: str, kind: Kind):
    path = write_many_pages(tmp_path / f"box{suffix}", 3)
    assert inspect(path, LIMITS) == Document(kind, 3)
    with pytest.raises(TooLarge, match="3 pages"):
        inspect(path, Limits(max_pages=2))
    with pytest.raises(CorruptFile):
        load(path, 3)


def test_the_name_says_nothing(tmp_path: Path):
    scan(1).save(tmp_path / "letter.pdf", "PNG")
    assert inspect(tmp_path / "letter.pdf", LIMITS) == Document(Kind.PNG, 1)


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
FOREIGN = {
    "https://example.org/page.png\n": "a text file",
    "Größe und Maß, mehr nicht.": "a text file",
    "<svg xmlns='http://www.w3.org/2000/svg'/>": "an SVG drawing",
    "<?xml version='1.0'?>\n<!-- drawn --><svg/>": "an SVG drawing",
    "<!DOCTYPE html><title>x</title>": "a web page",
    "<?xml version='1.0'?><alto/>": "an XML file",
    "{\\rtf1 Hello}": "an RTF text",
    "%!PS-Adobe-3.0": "a PostScript file",
    "AT&TFORM": "a DjVu file",
    "Rar!\x1a\7\0": "a RAR archive",
    "\x7fELF\2": "a program",
    "8BPS\0\1": "a Photoshop file",
}


@pytest.mark.parametrize(("content", "what"), FOREIGN.items())
def test_something_else_is_refused_by_its_name(tmp_path: Path, content: str, what: str):
    (tmp_path / "scan.png").write_text(content, "utf-8")
    with pytest.raises(UnsupportedType, match=f"This is {what}"):
        inspect(tmp_path / "scan.png", LIMITS)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (OLE + "WordDocument\0".encode("utf-16-le"), "a Microsoft Word file"),
        (OLE + "Workbook\0".encode("utf-16-le"), "a Microsoft Excel file"),
        (OLE, "a Microsoft Office file"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "a video"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a sound or video recording"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (bytes(range(200, 256)) * 9, "no kind of file that is read here"),
    ],
)
def test_bytes_of_something_else_are_refused_by_name(tmp_path: Path, content: bytes, what: str):
    (tmp_path / "scan.png").write_bytes(content)
    with pytest.raises(UnsupportedType, match=what):
        inspect(tmp_path / "scan.png", LIMITS)


def test_an_empty_file_is_told_as_empty(tmp_path: Path):
    (tmp_path / "scan.pdf").touch()
    with pytest.raises(CorruptFile, match="0 bytes"):
        inspect(tmp_path / "scan.pdf", LIMITS)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "JPEG2000", "AVIF"])
def test_a_truncated_image_is_refused(tmp_path: Path, format_: str):
    scan(1).convert("RGB").save(tmp_path / "scan", format_)
    content = (tmp_path / "scan").read_bytes()
    (tmp_path / "scan").write_bytes(content[: len(content) // 3])
    with pytest.raises(CorruptFile, match="damaged"):
        load(tmp_path / "scan")


def test_a_file_that_is_gone_is_told(tmp_path: Path):
    with pytest.raises(SourceMissing):
        inspect(tmp_path / "scan.png", LIMITS)
    for kind in (Kind.PNG, Kind.PDF):
        with pytest.raises(SourceMissing):
            load_page(tmp_path / "gone", kind, 0, tmp_path, LIMITS)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path):
    (path,) = write_scans(tmp_path, 1)
    with pytest.raises(TooLarge, match="1000 × 700"):
        inspect(path, Limits(max_pixels=10_000))
    with pytest.raises(TooLarge, match="1000 × 700"):
        load_page(path, Kind.PNG, 0, tmp_path, Limits(max_pixels=10_000))


def test_the_largest_page_fits_into_the_cage(tmp_path: Path):
    """In colour and with transparency, which takes the most memory."""
    Image.new("RGBA", (12_000, 10_000), (250, 250, 250, 255)).save(tmp_path / "map.png", compress_level=1)
    opened = load(tmp_path / "map.png", limits=Limits())
    assert (opened.width, opened.height, opened.blank) == (12_000, 10_000, True)


@pytest.mark.parametrize(("dpi", "told"), [(200, 200), (1, None), (5000, None)])
def test_a_resolution_is_believed_if_it_can_be(tmp_path: Path, dpi: int, told: int | None):
    scan(1).save(tmp_path / "scan.png", dpi=(dpi, dpi))
    assert load(tmp_path / "scan.png").dpi == told


def test_a_page_too_long_for_jpeg_is_shown_smaller(tmp_path: Path):
    page = write_page(Image.new("L", (70_000, 20)), None, tmp_path)
    with Image.open(page.rendition) as shown:
        assert shown.size == (65_500, 19)


def test_every_refusal_says_what_to_do():
    advice = ("upload", "lower resolution", "Save a copy")
    for error in FileError.__subclasses__():
        assert any(word in error.message for word in advice), error
