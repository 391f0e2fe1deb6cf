"""Draws scans of known text, the way scanners spoil them: tilted, blurred, speckled, turned."""

import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
DPI = 200
LINES = (
    "The parish register of Saint Mary",
    "records in its second volume the",
    "names of forty seven families who",
    "came by the river in the spring of",
    "1843 and settled above the mill.",
)


def lines_of(page: int) -> list[str]:
    """The true text of drawn page `page`: a number that differs, and lines that are the same."""
    return [f"Page number {page} of the register", *LINES]


def draw(
    lines: Sequence[str],
    *,
    tilt: float = 0.0,
    turn: int = 0,
    blur: float = 0.0,
    speckles: int = 0,
    size: tuple[int, int] = (1000, 700),
) -> Image.Image:
    """A page in mode `L` with the lines on it. `tilt` and `turn` are in degrees, anticlockwise."""
    image = Image.new("L", size, 250)
    pen = ImageDraw.Draw(image)
    font = ImageFont.truetype(FONT, 34)
    for number, line in enumerate(lines):
        pen.text((80, 80 + 60 * number), line, fill=20, font=font)
    dice = random.Random(size[0])
    for _ in range(speckles):
        pen.point((dice.randrange(size[0]), dice.randrange(size[1])), fill=dice.randrange(120))
    image = image.rotate(tilt, resample=Image.Resampling.BICUBIC, fillcolor=250)
    return image.filter(ImageFilter.GaussianBlur(blur)).rotate(turn, expand=True)


def scan(page: int) -> Image.Image:
    """Page `page` as an ordinary scan: slightly tilted, slightly blurred, with some dust."""
    return draw(lines_of(page), tilt=0.4, blur=0.5, speckles=60)


def write_scans(folder: Path, pages: int) -> list[Path]:
    """`card-1.png` … as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"card-{page}.png" for page in range(1, pages + 1)]
    for page, path in enumerate(paths, 1):
        scan(page).save(path, dpi=(DPI, DPI))
    return paths


def write_many_pages(path: Path, pages: int) -> Path:
    """One TIFF or PDF with several pages."""
    first, *rest = [scan(page) for page in range(1, pages + 1)]
    options = {"resolution": DPI} if path.suffix == ".pdf" else {"dpi": (DPI, DPI)}
    first.save(path, save_all=True, append_images=rest, **options)
    return path
