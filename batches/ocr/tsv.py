"""Tesseract's TSV: one row a page, block, paragraph, line and word, with boxes in pixels (tesseract(1))."""

from batches.documents import Word

COLUMNS = 12
PAGE_LEVEL, WORD_LEVEL = "1", "5"


def parse_tsv(tsv: str, size: tuple[int, int]) -> tuple[Word, ...]:
    """The words in Tesseract's TSV, without a heading. Raises ValueError unless it is of a page of `size` pixels."""
    rows = [row.split("\t", COLUMNS - 1) for row in tsv.splitlines()]
    if (
        not rows
        or not tsv.endswith("\n")
        or rows[0][0] != PAGE_LEVEL
        or rows[0][8:10] != [str(side) for side in size]
    ):
        raise ValueError("not the TSV of this page")
    return tuple(_word(row) for row in rows if row[0] == WORD_LEVEL and row[11].strip())


def _word(row: list[str]) -> Word:
    block, paragraph, line, number, left, top, width, height = map(int, row[2:10])
    confidence = round(float(row[10]), 1)
    return Word(block, paragraph, line, number, left, top, width, height, confidence, row[11])
