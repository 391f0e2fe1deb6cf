"""Pages for measuring: 300 dpi, A4, about 500 words of print, drawn anew on each machine."""

import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "that",
    "was",
    "his",
    "with",
    "for",
    "had",
    "on",
    "at",
    "by",
    "which",
    "from",
    "have",
    "were",
    "their",
    "been",
    "would",
    "there",
    "when",
    "register",
    "parish",
    "volume",
    "letter",
    "office",
    "river",
    "bridge",
    "family",
    "harvest",
    "winter",
    "market",
    "ledger",
    "account",
    "number",
    "village",
    "council",
    "record",
    "witness",
    "signed",
    "received",
    "payment",
    "quarter",
    "church",
    "school",
    "garden",
    "journey",
    "morning",
]


def draw_page(seed: int) -> Image.Image:
    """One page in mode `L`: forty-odd lines, a slight blur and some dust."""
    dice = random.Random(seed)
    image = Image.new("L", (2480, 3508), 248)
    pen = ImageDraw.Draw(image)
    font = ImageFont.truetype(FONT, 42)
    for row in range(46):
        pen.text((260, 260 + 66 * row), " ".join(dice.choices(WORDS, k=11)), fill=25, font=font)
    for _ in range(400):
        pen.point((dice.randrange(2480), dice.randrange(3508)), fill=90)
    return image.filter(ImageFilter.GaussianBlur(0.6))


def write_pages(folder: Path, pages: int) -> list[Path]:
    """So many pages as PNG files."""
    paths = [folder / f"page-{number:03d}.png" for number in range(1, pages + 1)]
    for number, path in enumerate(paths):
        draw_page(number).save(path, dpi=(300, 300))
    return paths
