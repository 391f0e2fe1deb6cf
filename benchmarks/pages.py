"""Pages for measuring, drawn anew on each machine, with their true text."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.error_rates import error_rates

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
PAPER, INK, DUST = 248, 25, 90
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
MOST_WRONG = 0.1  # CER: above it something else was read than the page


@dataclass(frozen=True)
class Drawn:
    """A page as a PNG file, and what stands on it."""

    path: Path
    text: str


def page(number: int) -> tuple[Image.Image, str]:
    """A4 at 300 dpi, mode `L`: 46 lines of print, about 500 words."""
    dice = random.Random(number)
    lines = [" ".join(dice.choices(WORDS, k=11)) for _ in range(46)]
    return _print(lines, dice, size=(2480, 3508), font=42, start=(260, 260), step=66), "\n".join(lines)


def card(number: int) -> tuple[Image.Image, str]:
    """An index card of 5 × 3 inches at 200 dpi, mode `L`: 5 lines."""
    dice = random.Random(number)
    lines = [f"{dice.choice(WORDS).title()}, {dice.choice(WORDS).title()} {dice.randrange(1000, 9999)}"]
    lines += [" ".join(dice.choices(WORDS, k=6)) for _ in range(4)]
    return _print(lines, dice, size=(1000, 600), font=32, start=(90, 90), step=80), "\n".join(lines)


def large_page(number: int) -> tuple[Image.Image, str]:
    """100 megapixels, mode `RGB`: a sheet of 17 × 17 inches at 600 dpi with 40 lines."""
    dice = random.Random(number)
    lines = [" ".join(dice.choices(WORDS, k=10)) for _ in range(40)]
    image = _print(lines, dice, size=(10_000, 10_000), font=160, start=(700, 700), step=220)
    return image.convert("RGB"), "\n".join(lines)


def _print(
    lines: list[str],
    dice: random.Random,
    *,
    size: tuple[int, int],
    font: int,
    start: tuple[int, int],
    step: int,
) -> Image.Image:
    """The lines on paper, slightly blurred, with some dust. All in pixels."""
    image = Image.new("L", size, PAPER)
    pen = ImageDraw.Draw(image)
    face = ImageFont.truetype(FONT, font)
    for number, line in enumerate(lines):
        pen.text((start[0], start[1] + step * number), line, fill=INK, font=face)
    for _ in range(size[0] * size[1] // 22_000):
        pen.point((dice.randrange(size[0]), dice.randrange(size[1])), fill=DUST)
    return image.filter(ImageFilter.GaussianBlur(0.6))


def write(
    folder: Path, draw: Callable[[int], tuple[Image.Image, str]], pages: int, dpi: int = 300
) -> list[Drawn]:
    """So many different pages, `page-0001.png` …"""
    folder.mkdir()
    drawn = []
    for number in range(1, pages + 1):
        path = folder / f"page-{number:04d}.png"
        image, text = draw(number)
        image.save(path, dpi=(dpi, dpi))
        drawn.append(Drawn(path, text))
    return drawn


def check(pages: list[Drawn], read: list[str], reader: str) -> None:
    """Whoever is measured has read every page. Raises ValueError."""
    if len(pages) != len(read):
        raise ValueError(f"{reader} gave {len(read)} texts for {len(pages)} pages")
    for drawn, text in zip(pages, read, strict=True):
        if (cer := error_rates(drawn.text, text).cer) > MOST_WRONG:
            raise ValueError(f"{reader} did not read {drawn.path.name}: {cer:.0%} of it is wrong")
