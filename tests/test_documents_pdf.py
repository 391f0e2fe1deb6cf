"""PDF pages: text that is kept, text that is not to be trusted, scans as they are, damage, passwords."""

from collections.abc import Callable
from pathlib import Path

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Encryption, Name, Pdf
from PIL import Image, ImageChops

from batches import ocr
from batches.documents import Document, Kind, Limits, PageImage, inspect, load_page
from batches.documents.plausible import what_is_wrong
from batches.errors import CorruptFile, Encrypted, TooLarge
from tests.pdfs import LETTER, add_page, cmap, image_at, image_by, text, write_text_pdf
from tests.scans import LINES, draw, lines_of, write_many_pages

LIMITS = Limits(max_pixels=20_000_000)
TAKEN = "Text taken from the PDF."
PAGE = draw(lines_of(1)[:3], size=(1000, 1294))  # as wide and high as LETTER


def load(path: Path, index: int = 0, *, keep_text: bool = True, limits: Limits = LIMITS) -> PageImage:
    return load_page(path, Kind.PDF, index, path.parent, limits, keep_text=keep_text)


def text_of(page: PageImage) -> str:
    return ocr.recognise(page, ocr.Options(), engine=ocr.probe(), timeout=60).text


@pytest.fixture
def pdf(tmp_path: Path):
    """Saves pages that the test adds, and answers the path."""
    with Pdf.new() as made:
        yield made


@pytest.fixture
def save(pdf: Pdf, tmp_path: Path) -> Callable[[], Path]:
    def write() -> Path:
        pdf.save(tmp_path / "made.pdf")
        return tmp_path / "made.pdf"

    return write


# ------------------------------------------------------------------ text that is kept


def test_real_text_is_kept_with_its_boxes(tmp_path: Path):
    page = load(write_text_pdf(tmp_path / "letter.pdf", list(LINES)))
    assert (page.note, page.dpi, page.width, page.height) == (TAKEN, 200, 1700, 2200)
    assert not page.gray.exists()
    result = ocr.recognise(page, ocr.Options(), engine=ocr.probe(), timeout=60)
    assert result.text == "\n".join(LINES)
    assert (result.engine, result.confidence) == (ocr.TEXT_OF_PDF, 100.0)
    with Image.open(page.rendition) as shown:
        ink = shown.convert("L").point(lambda level: 255 if level < 128 else 0)
        for word in result.words:
            box = (word.left - 2, word.top - 2, word.left + word.width + 2, word.top + word.height + 2)
            around = ink.crop(box).getbbox()
            assert around
            assert around[2] - around[0] == pytest.approx(word.width, abs=4)


def test_the_text_is_read_where_that_is_wanted(tmp_path: Path):
    page = load(write_text_pdf(tmp_path / "letter.pdf", list(LINES)), keep_text=False)
    assert (page.words, page.note, page.dpi) == (None, "", 300)
    assert text_of(page) == "\n".join(LINES)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_boxes_follow_a_turned_and_cropped_page(tmp_path: Path, pdf, save, turn: int):
    add_page(pdf, text(list(LINES)), Rotate=turn, CropBox=Array([50, 500, 400, 780]))
    page = load(save())
    assert page.words
    with Image.open(page.rendition) as shown:
        assert shown.size == (page.width, page.height)
        ink = shown.convert("L").point(lambda level: 255 if level < 128 else 0)
    found = ink.getbbox()
    assert found
    words = (
        min(word.left for word in page.words),
        min(word.top for word in page.words),
        max(word.left + word.width for word in page.words),
        max(word.top + word.height for word in page.words),
    )
    assert words == pytest.approx(found, abs=4)


def test_it_is_decided_page_by_page(pdf, save):
    add_page(pdf, text(list(LINES)))
    add_page(pdf, image_at(0, 0, *LETTER), image=PAGE)
    add_page(pdf, text(list(LINES)))
    path = save()
    assert [load(path, index).words is None for index in range(3)] == [False, True, False]


def test_paragraphs_and_columns_are_blocks(pdf, save):
    left, right = list(LINES[:2]), list(LINES[2:4])
    add_page(pdf, text(left) + text(right).replace("72 700 Td", "330 700 Td") + text(left, top=400))
    assert text_of(load(save())) == "\n\n".join("\n".join(lines) for lines in (left, right, left))


def test_a_small_picture_beside_the_text_is_told(pdf, save):
    add_page(pdf, text(list(LINES)) + image_at(72, 72, 300, 300), image=PAGE)
    assert load(save()).note == f"{TAKEN} Pictures on the page were not read."


# ------------------------------------------------------------------ text that is not to be trusted


def test_an_earlier_recognition_is_read_again(pdf, save):
    add_page(pdf, image_at(0, 0, *LETTER) + text(["rubbish that some scanner saw"], mode=3), image=PAGE)
    page = load(save())
    assert (page.words, page.width) == (None, 1000)
    assert "earlier recognition" in page.note


def test_a_stamp_over_a_scan_is_read_with_the_scan(pdf, save):
    add_page(pdf, image_at(0, 0, *LETTER) + text(["Downloaded from an archive, 2024"], top=60), image=PAGE)
    page = load(save())
    assert page.words is None
    assert "picture with text over it" in page.note
    assert "Downloaded" in text_of(page)
    assert "parish register" in text_of(page)


def test_invisible_text_without_a_scan_is_not_taken(pdf, save):
    add_page(pdf, text(list(LINES), mode=3))
    assert "invisible" in load(save()).note


def test_white_text_on_white_is_not_taken(pdf, save):
    add_page(pdf, text(list(LINES), colour="1 g"))
    page = load(save())
    assert page.words is None
    assert "not what the page shows" in page.note


def test_characters_of_private_use_are_not_taken(pdf, save):
    add_page(pdf, text(list(LINES)), to_unicode=cmap(0x20, 0x7E, 0xE020))
    page = load(save())
    assert page.words is None
    assert "do not exist" in page.note
    assert text_of(page) == "\n".join(LINES)


def test_letters_that_are_shifted_are_not_taken(pdf, save):
    """A font whose map is off by 29: `This is` becomes `7KLV LV`."""
    add_page(pdf, text([*LINES, *LINES]), to_unicode=cmap(0x3D, 0x7E, 0x3D - 29))
    page = load(save())
    assert page.words is None
    assert "not usable" in page.note


def test_a_filled_in_form_is_read_as_it_looks(pdf, save):
    page = add_page(pdf, text(list(LINES)))
    stamp = Dictionary(
        Type=Name.Annot,
        Subtype=Name.FreeText,
        Rect=Array([72, 72, 300, 100]),
        Contents="Paid",
        DA="/Helv 12 Tf",
    )
    page.Annots = pdf.make_indirect(Array([pdf.make_indirect(stamp)]))
    assert "forms or remarks" in load(save()).note


ENGLISH = " ".join(LINES)


@pytest.mark.parametrize(
    ("content", "unmapped", "wrong"),
    [
        (ENGLISH, 0, ""),
        (ENGLISH, 20, "its characters have no meaning"),
        (ENGLISH + "\x01\x02\x03\x04\x05\x06\x07", 0, "it is full of characters that do not exist"),
        (ENGLISH + "\ue000" * 9, 0, "it is full of characters that do not exist"),
        ("12", 0, "there is hardly any"),
        ("!$%&/()=?+*#'-_.:,;<>|^ hardly any letters", 0, "it has hardly any letters"),
        ("Contents . . . . . . . . . . . 1\nFirst part . . . . . . . . . . 3", 0, ""),
        ("Names of 47 families: 12.50, 13.75, 1843, 1844, 1845, 1846", 0, ""),
        (ENGLISH.replace(" ", ""), 0, "there are no spaces between its words"),
        (
            "7KH SDULVK UHJLVWHU RI 6DLQW 0DUB UHFRUGV LQ LWV VHFRQG YROXPH WKH QDPHV RI IRUWB VHYHQ IDPLOLHV",
            0,
            "its letters make no words",
        ),
        ("Приходская книга церкви святой Марии содержит имена сорока семи семей", 0, ""),
        ("Im zweiten Band des Kirchenbuchs stehen die Namen von siebenundvierzig Familien", 0, ""),
        ("教区登记册第二卷记录了一八四三年春天沿河而来的四十七个家庭的名字", 0, ""),
        ("Žluťoučký kůň příšerně úpěl ďábelské ódy, a potom šel spát do své stáje", 0, ""),
        ("aбγدह" * 20, 0, "its letters are of many scripts"),
    ],
)
def test_what_a_text_may_be(content: str, unmapped: int, wrong: str):
    assert what_is_wrong(content, unmapped) == wrong


# ------------------------------------------------------------------ scans


def test_a_scan_is_taken_as_it_is(pdf, save):
    """The very pixels, not a rendering of them."""
    add_page(pdf, image_at(0, 0, *LETTER), image=PAGE)
    page = load(save())
    assert (page.width, page.height, page.dpi) == (1000, 1294, 118)
    with Image.open(page.gray) as gray:
        assert ImageChops.difference(gray, PAGE).getbbox() is None


WIDE = PAGE.rotate(90, expand=True)
SIDEWAYS = {
    "as it is": (PAGE, (612, 0, 0, 792, 0, 0), 0),
    "turned by the page": (PAGE.rotate(90, expand=True), (792, 0, 0, 612, 0, 0), 90),
    "upside down by the page": (PAGE.rotate(180), (612, 0, 0, 792, 0, 0), 180),
    "turned back by the page": (PAGE.rotate(270, expand=True), (792, 0, 0, 612, 0, 0), 270),
    "upside down by its matrix": (PAGE.rotate(180), (-612, 0, 0, -792, 612, 792), 0),
    "turned by its matrix": (PAGE.rotate(90, expand=True), (0, -792, 612, 0, 0, 792), 0),
    "mirrored by its matrix": (
        PAGE.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        (612, 0, 0, -792, 0, 792),
        0,
    ),
}


@pytest.mark.parametrize("how", SIDEWAYS)
def test_a_scan_is_turned_as_the_page_shows_it(pdf, save, how: str):
    image, matrix, turn = SIDEWAYS[how]
    size = (792, 612) if matrix[0] == 792 else LETTER
    add_page(pdf, image_by(*matrix), image=image, size=size, Rotate=turn)
    page = load(save())
    assert (page.width, page.height) == (1000, 1294)
    with Image.open(page.gray) as gray:
        assert ImageChops.difference(gray, PAGE).getbbox() is None


def test_a_scan_is_cropped_as_the_page_shows_it(pdf, save):
    add_page(pdf, image_at(0, 0, *LETTER), image=PAGE, CropBox=Array([0, 396, 612, 792]))
    page = load(save())
    with Image.open(page.gray) as gray:
        assert ImageChops.difference(gray, PAGE.crop((0, 0, 1000, 647))).getbbox() is None


def test_a_scan_that_its_page_tilts_is_taken_straight(pdf, save):
    add_page(pdf, image_by(611, 32, -32, 791, 16, -16), image=PAGE)
    page = load(save())
    assert (page.width, page.height, page.note) == (1000, 1294, "")


@pytest.mark.parametrize(
    ("mode", "keys"),
    [
        ("1", {}),
        ("L", {"image_Decode": Array([1, 0])}),
        ("RGB", {"image_Decode": Array([1, 0, 1, 0, 1, 0])}),
        ("CMYK", {}),
    ],
)
def test_paper_in_a_pdf_stays_light(pdf, save, mode: str, keys):
    image = ImageChops.invert(PAGE) if keys else PAGE
    add_page(pdf, image_at(0, 0, *LETTER), image=image.convert(mode), **keys)
    page = load(save())
    with Image.open(page.gray) as gray:
        histogram = gray.histogram()
    assert sum(histogram[235:]) > 0.8 * sum(histogram)


def test_a_picture_with_drawings_over_it_is_drawn_with_them(pdf, save):
    add_page(pdf, image_at(0, 0, *LETTER) + "0 g 100 100 400 100 re f", image=PAGE)
    page = load(save())
    with Image.open(page.gray) as gray:
        assert gray.getpixel((gray.width // 2, round(gray.height * (1 - 150 / 792)))) < 10  # type: ignore[operator]


def test_a_picture_that_is_a_part_of_the_page_is_drawn_with_the_page(pdf, save):
    add_page(pdf, image_at(100, 400, 300, 388), image=PAGE)
    page = load(save())
    assert (page.width, page.dpi) == (2550, 300)


def test_a_large_page_is_drawn_as_large_as_the_limit_allows(tmp_path: Path):
    path = write_text_pdf(tmp_path / "letter.pdf", list(LINES))
    small = load(path, keep_text=False, limits=Limits(max_pixels=1_000_000))
    assert small.width * small.height <= 1_000_000 * 1.01  # pdfium rounds each side up
    assert small.dpi == 103


def test_a_page_of_200_inches_is_refused_by_its_size(pdf, save):
    add_page(pdf, text(list(LINES)), size=(14_400, 14_400))
    with pytest.raises(TooLarge, match="200 × 200 inches"):
        load(save())


# ------------------------------------------------------------------ damage and passwords


def test_a_pdf_with_nothing_in_it_is_refused(tmp_path: Path):
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.7\n%%EOF\n")
    with pytest.raises(CorruptFile):
        inspect(tmp_path / "letter.pdf", LIMITS)


@pytest.mark.parametrize("damage", ["no trailer", "wrong offsets", "junk before the header"])
def test_a_damaged_pdf_is_read(tmp_path: Path, damage: str):
    path = write_text_pdf(tmp_path / "letter.pdf", list(LINES))
    content = path.read_bytes()
    path.write_bytes(
        {
            "no trailer": content[: content.rindex(b"xref\n")],
            "wrong offsets": content.replace(b"startxref\n", b"startxref\n9"),
            "junk before the header": b"From the scanner\r\n" + content,
        }[damage]
    )
    assert inspect(path, LIMITS).pages == 1  # type: ignore[union-attr]
    assert text_of(load(path)) == "\n".join(LINES)


def test_a_password_is_named(tmp_path: Path):
    path = write_text_pdf(tmp_path / "plain.pdf", list(LINES))
    with pikepdf.open(path) as plain:
        plain.save(tmp_path / "locked.pdf", encryption=Encryption(user="secret", owner="boss"))
        plain.save(tmp_path / "open.pdf", encryption=Encryption(user="", owner="boss"))
    with pytest.raises(Encrypted, match="password"):
        inspect(tmp_path / "locked.pdf", LIMITS)
    assert inspect(tmp_path / "open.pdf", LIMITS) == Document(Kind.PDF, 1)
    assert text_of(load(tmp_path / "open.pdf")) == "\n".join(LINES)


def test_a_pdf_of_fax_pages_is_taken_as_scanned(tmp_path: Path):
    page = load(write_many_pages(tmp_path / "box.pdf", 2), 1)
    assert (page.width, page.height, page.dpi) == (1000, 700, 200)
    assert text_of(page).startswith("Page number 2")
