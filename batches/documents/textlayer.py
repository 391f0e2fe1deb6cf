"""The text that a PDF page brings with it: whether it is what the page shows, and its words and boxes.

Runs in the cage only. A page whose text is an earlier recognition, or no text that people could read, is
left to be read.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

import pypdfium2 as pdfium
from PIL import Image
from pypdfium2 import raw as pdfium_c

from batches.documents.layers import Layout, Matrix, seen_from_user
from batches.documents.pages import Word
from batches.documents.plausible import what_is_wrong

Box = tuple[float, float, float, float]  # left, top, right, bottom

TAKEN = "Text taken from the PDF."
PICTURES_UNREAD = f"{TAKEN} Pictures on the page were not read."
SCAN_BEHIND = 0.5  # of the page's area: with so much picture, invisible text is an earlier recognition
MOSTLY_PICTURE = 0.8  # with so much, text over it is a stamp on a scan
SOME_PICTURE = 0.1  # from here on, pictures are worth a word
MAX_CHARS = 200_000  # a page
HYPHENS = {0x02, 0xAD, 0xFFFE}  # what pdfium makes of a hyphen at the end of a line, and soft hyphens
LIGATURES = {
    0xFB00: "ff",
    0xFB01: "fi",
    0xFB02: "fl",
    0xFB03: "ffi",
    0xFB04: "ffl",
    0xFB05: "st",
    0xFB06: "st",
}
PARAGRAPH_GAP = 0.6  # heights of a line between two, from which on a new block begins
INKLESS = 0.5  # of the words; where more have no ink, the text is not what is seen
INK = 40  # levels of grey between ink and paper within a word's box
LOOK_SCALE, LOOK_SIDE = 1.5, 4000  # pixels a point, and pixels at the most, to look for the ink


def take_words(page: pdfium.PdfPage, layout: Layout, scale: float) -> tuple[tuple[Word, ...] | None, str]:
    """The page's words with boxes at `scale` pixels a point, and a remark; None where it has to be read."""
    if not layout.visible_text and not layout.invisible_text:
        return None, ""
    if reason := _distrusted(layout):
        return None, reason
    characters = _characters(page)
    text = "".join(character.text for character in characters)
    if wrong := what_is_wrong(text, sum(character.unmapped for character in characters)):
        return None, f"The PDF's own text is not usable ({wrong}): the page was read."
    lines = _lines(characters)
    width, height = page.get_size()
    words = tuple(_words(lines, width * scale, height * scale))
    if _has_no_ink(page, words, scale):
        return None, "The PDF's own text is not what the page shows: the page was read."
    return words, PICTURES_UNREAD if layout.pictures_share > SOME_PICTURE else TAKEN


def _distrusted(layout: Layout) -> str:
    """Why the text cannot be what the page shows, from what else lies there; empty if it may be."""
    if layout.filled_in:
        return "The PDF's page has forms or remarks on it: the page was read as it looks."
    if layout.invisible_text > layout.visible_text:
        if layout.pictures_share > SCAN_BEHIND:
            return "The PDF's text is that of an earlier recognition: the scan was read again."
        return "The PDF's text is invisible: the page was read as it looks."
    if layout.pictures_share > MOSTLY_PICTURE:
        return "The page is a picture with text over it: all of it was read."
    return ""


# ------------------------------------------------------------------ characters


@dataclass(frozen=True)
class Character:
    """A character, with the box of its ink on the page: 0–1 from left to right and from top to bottom."""

    text: str
    unmapped: bool = False
    ends_line: bool = False
    box: Box = (0.0, 0.0, 0.0, 0.0)
    line: Box = (0.0, 0.0, 0.0, 0.0)  # as high as its font's lines are


def _characters(page: pdfium.PdfPage) -> list[Character]:
    text_page = page.get_textpage()
    seen = seen_from_user(page)
    n = min(text_page.count_chars(), MAX_CHARS)
    return [_character(text_page, i, seen) for i in range(n)]


def _character(text_page: pdfium.PdfTextPage, i: int, seen: Matrix) -> Character:
    code = pdfium_c.FPDFText_GetUnicode(text_page, i)
    unmapped = pdfium_c.FPDFText_HasUnicodeMapError(text_page, i) == 1
    hyphen = code in HYPHENS or pdfium_c.FPDFText_IsHyphen(text_page, i) == 1
    text = "-" if hyphen else LIGATURES.get(code) or _text(code)
    if text.isspace():
        return Character(text, ends_line=text in "\r\n")
    box, line = _boxes(text_page, i, seen)
    return Character(text, unmapped, hyphen and code in (0x02, 0xFFFE), box, line)


def _text(code: int) -> str:
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "\N{REPLACEMENT CHARACTER}"


def _boxes(text_page: pdfium.PdfTextPage, i: int, seen: Matrix) -> tuple[Box, Box]:
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    pdfium_c.FPDFText_GetCharBox(text_page, i, left, right, bottom, top)
    loose = pdfium_c.FS_RECTF()
    pdfium_c.FPDFText_GetLooseCharBox(text_page, i, loose)
    return (
        _seen_box(seen, left.value, top.value, right.value, bottom.value),
        _seen_box(seen, loose.left, loose.top, loose.right, loose.bottom),
    )


def _seen_box(seen: Matrix, left: float, top: float, right: float, bottom: float) -> Box:
    (x1, y1), (x2, y2) = seen.apply(left, top), seen.apply(right, bottom)
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


# ------------------------------------------------------------------ words


@dataclass(frozen=True)
class Piece:
    """A word and its boxes, as `Character` has them."""

    text: str
    box: Box
    line: Box


def _lines(characters: list[Character]) -> list[list[Piece]]:
    """The words of each line, in the PDF's order; without those outside the page."""
    lines: list[list[Piece]] = [[]]
    word: list[Character] = []

    def end_word() -> None:
        if piece := _piece(word):
            lines[-1].append(piece)
        word.clear()

    for character in characters:
        if character.text.isspace():
            end_word()
        else:
            word.append(character)
        if character.ends_line:
            end_word()
            lines.append([])
    end_word()
    return [line for line in lines if line]


def _piece(word: list[Character]) -> Piece | None:
    if not word:
        return None
    box = _around([character.box for character in word])
    if box[2] <= 0 or box[3] <= 0 or box[0] >= 1 or box[1] >= 1:
        return None
    line = _around([character.line for character in word])
    return Piece("".join(character.text for character in word), box, line)


def _around(boxes: list[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _words(lines: list[list[Piece]], width: float, height: float) -> Iterator[Word]:
    """The words of a page of so many pixels, numbered as Tesseract does it."""
    block, line_number = 0, 0
    previous: list[Piece] | None = None
    for line in lines:
        if previous is None or _begins_block(previous, line):
            block, line_number = block + 1, 0
        line_number += 1
        previous = line
        for number, piece in enumerate(line, 1):
            left, top, right, bottom = piece.box
            x, y = max(0, round(left * width)), max(0, round(top * height))
            across, down = max(1, round(right * width) - x), max(1, round(bottom * height) - y)
            yield Word(block, 1, line_number, number, x, y, across, down, 100.0, piece.text)


def _begins_block(previous: list[Piece], line: list[Piece]) -> bool:
    """Whether it stands elsewhere than just below the line before it."""
    _, top, _, bottom = _around([piece.line for piece in previous])
    its_top = min(piece.line[1] for piece in line)
    gap = PARAGRAPH_GAP * (bottom - top)
    return its_top > bottom + gap or its_top < top - gap


def _has_no_ink(page: pdfium.PdfPage, words: tuple[Word, ...], scale: float) -> bool:
    """Whether most words stand where nothing is to be seen: white on white, or under something."""
    look_scale = min(LOOK_SCALE, LOOK_SIDE / max(page.get_size()))
    look = page.render(scale=look_scale, grayscale=True).to_pil().convert("L")
    inkless = sum(not _has_ink(look, word, look_scale / scale) for word in words)
    return inkless > INKLESS * len(words)


def _has_ink(look: Image.Image, word: Word, ratio: float) -> bool:
    left, top = int(word.left * ratio) - 1, int(word.top * ratio) - 1
    right = int((word.left + word.width) * ratio) + 2
    bottom = int((word.top + word.height) * ratio) + 2
    box = max(0, left), max(0, top), min(look.width, right), min(look.height, bottom)
    if box[0] >= box[2] or box[1] >= box[3]:
        return False
    low, high = look.crop(box).getextrema()
    return float(high) - float(low) > INK  # type: ignore[arg-type]
