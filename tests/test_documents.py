from pathlib import Path

import pytest
from PIL import Image

from batches.documents import Document, Kind, inspect, load_page, write_rendition
from batches.errors import CorruptFile, SourceMissing, TooLarge, UnsupportedType
from tests.scans import draw, lines_of, scan, write_many_pages, write_scans

PIXELS = 10_000_000


@pytest.mark.parametrize("kind", [Kind.PNG, Kind.JPEG])
def test_an_image_is_one_page(tmp_path: Path, kind: Kind):
    scan(1).save(tmp_path / "scan", kind.value)
    assert inspect(tmp_path / "scan", 10) == Document(kind, 1)


@pytest.mark.parametrize(("suffix", "kind"), [(".tif", Kind.TIFF), (".pdf", Kind.PDF)])
def test_every_page_of_a_file_counts(tmp_path: Path, suffix: str, kind: Kind):
    path = write_many_pages(tmp_path / f"box{suffix}", 3)
    assert inspect(path, 10) == Document(kind, 3)
    sizes = {load_page(path, kind, index, PIXELS).image.size for index in range(3)}
    assert len(sizes) == 1


def test_a_cameras_preview_and_an_animation_are_no_pages(tmp_path: Path):
    scan(1).save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[scan(2)])
    scan(1).save(tmp_path / "moving.png", save_all=True, append_images=[scan(2)])
    assert inspect(tmp_path / "photo.jpg", 10) == Document(Kind.JPEG, 1)
    assert inspect(tmp_path / "moving.png", 10) == Document(Kind.PNG, 1)
    assert load_page(tmp_path / "photo.jpg", Kind.JPEG, 0, PIXELS).image.size == (1000, 700)


def test_the_name_says_nothing(tmp_path: Path):
    scan(1).save(tmp_path / "letter.pdf", "PNG")
    assert inspect(tmp_path / "letter.pdf", 10) == Document(Kind.PNG, 1)


@pytest.mark.parametrize("content", [b"", b"https://example.org/page.png\n", b"PK\x03\x04rest", b"GIF89a"])
def test_something_else_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "scan.png").write_bytes(content)
    with pytest.raises(UnsupportedType, match="Convert it"):
        inspect(tmp_path / "scan.png", 10)


def test_a_truncated_image_is_refused_when_it_is_read(tmp_path: Path):
    (path,) = write_scans(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CorruptFile, match="damaged"):
        load_page(path, inspect(path, 10).kind, 0, PIXELS)


def test_a_pdf_with_nothing_in_it_is_refused(tmp_path: Path):
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.7\n%%EOF\n")
    with pytest.raises(CorruptFile):
        inspect(tmp_path / "letter.pdf", 10)


def test_a_file_that_is_gone_is_told(tmp_path: Path):
    for name in ("scan.png", "letter.pdf"):
        with pytest.raises(SourceMissing):
            inspect(tmp_path / name, 10)
    with pytest.raises(SourceMissing):
        load_page(tmp_path / "letter.pdf", Kind.PDF, 0, PIXELS)


def test_too_many_pages_are_refused(tmp_path: Path):
    with pytest.raises(TooLarge, match="3 pages"):
        inspect(write_many_pages(tmp_path / "box.tif", 3), 2)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path):
    (path,) = write_scans(tmp_path, 1)
    with pytest.raises(TooLarge, match="1000 × 700"):
        load_page(path, Kind.PNG, 0, 10_000)


def test_a_large_pdf_page_is_drawn_as_large_as_the_limit_allows(tmp_path: Path):
    path = write_many_pages(tmp_path / "box.pdf", 1)
    assert load_page(path, Kind.PDF, 0, PIXELS).dpi == 300
    small = load_page(path, Kind.PDF, 0, 500_000)
    assert small.image.width * small.image.height <= 500_000 * 1.01  # pdfium rounds each side up
    assert small.dpi == 169


def test_a_photo_is_turned_as_the_camera_says(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    draw(lines_of(1)).save(tmp_path / "photo.jpg", exif=exif)
    assert load_page(tmp_path / "photo.jpg", Kind.JPEG, 0, PIXELS).image.size == (700, 1000)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK", "I;16", "I"])
def test_paper_stays_light_and_ink_stays_dark(tmp_path: Path, mode: str):
    page = draw(lines_of(1))
    if mode.startswith("I"):
        page = page.convert("I").point(lambda level: level * 257).convert(mode)
    page.convert(mode).save(tmp_path / "scan", "TIFF")
    image = load_page(tmp_path / "scan", Kind.TIFF, 0, PIXELS).image
    assert image.mode in ("L", "RGB")
    gray = image.convert("L")
    histogram = gray.histogram()
    assert sum(histogram[240:]) > 0.8 * sum(histogram)
    assert sum(histogram[:40]) > 1000


def test_transparent_paper_is_white(tmp_path: Path):
    page = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    page.save(tmp_path / "scan.png")
    assert load_page(tmp_path / "scan.png", Kind.PNG, 0, PIXELS).image.getpixel((9, 9)) == (255, 255, 255)


@pytest.mark.parametrize(("dpi", "told"), [(200, 200), (1, None), (5000, None)])
def test_a_resolution_is_believed_if_it_can_be(tmp_path: Path, dpi: int, told: int | None):
    scan(1).save(tmp_path / "scan.png", dpi=(dpi, dpi))
    assert load_page(tmp_path / "scan.png", Kind.PNG, 0, PIXELS).dpi == told


def test_a_page_too_long_for_jpeg_is_shown_smaller(tmp_path: Path):
    write_rendition(Image.new("L", (70_000, 20)), tmp_path / "page.jpg")
    with Image.open(tmp_path / "page.jpg") as shown:
        assert shown.size == (65_500, 19)
