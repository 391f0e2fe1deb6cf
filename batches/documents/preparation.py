"""A page made ready: upright and straight for people and the engine, even, clean and of good size for the engine.

What helps Tesseract was measured, see benchmarks/README.md: a straight page before all, ruled lines taken out, even
paper, letters of 20 to 30 pixels. Runs in the cage only.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from batches.documents.measuring import Measured, measure
from batches.documents.pages import Look, Preparation, Stance
from batches.documents.paper import Gray, flatten, straightening

Pixels = NDArray[np.uint8]  # height × width, or × 3

SHOWN_PIXELS = 40_000_000  # a page's, from which on people see it at half its size
LEAST_SKEW = 0.15  # degrees, below which straightening would only blur
DARK = 110  # level of grey: where the paper is darker, letters may be light
SMALL, SMALL_TO = 9.5, 15.0  # pixels: lower letters are scaled up, to this
LARGE, LARGE_TO = 34.0, 26.0  # higher ones down: the same is read in half the time
MOST_SCALE, MOST_PIXELS = 3.0, 35_000_000  # for which memory is reckoned
LINE = 5.0  # letters' heights: what is as long and unbroken is a line
LINE_COVERS = 0.15  # of the page's width
FAINT = 25  # levels of grey off the paper
RULED = 6  # lines: paper with so many is ruled
INK_SHARE = 0.2  # per cent of a page that is ink at the least, where a card has little on it
MARGIN = 0.97  # of the page: where the paper covers more than that of a side, it is not cut out
LETTER_INCHES = 0.07  # the height of a printed letter (10 points), to tell the resolution from
EASY_DPI = (150, 300)
ABSURD = 2.5  # times higher or lower than letters say, the file's resolution is not believed


@dataclass(frozen=True)
class Standing:
    """A page on its feet, in grey. `rotation`, `skew`: degrees clockwise, as in PageImage."""

    gray: Gray
    rotation: int
    skew: float
    inverted: bool = False
    measured: Measured | None = None


@dataclass(frozen=True)
class ForEngine:
    """What the engine sees: `gray` begins at `left`, `top` of the standing page and is `scale` times as large."""

    gray: Gray
    left: int
    top: int
    scale: float
    dpi: int | None


def stand(image: Image.Image, look: Look) -> Standing:
    """The page (mode `L` or `RGB`) turned as its user says, or as its letters say, and straightened."""
    gray = _turned(np.asarray(image.convert("L")), look.rotation)
    if look.preparation is Preparation.OFF:
        return Standing(gray, look.rotation, 0.0)
    measured, inverted = _measured(gray)
    if not look.latin:
        measured = replace(measured, head_up=0.0)
    rotation = (_rotation(measured) if not look.rotation else 0) + look.more
    measured = replace(measured, paper=_turned_box(measured.paper, gray.shape, rotation))
    gray = _turned(gray, rotation)
    skew = measured.skew if abs(measured.skew) >= LEAST_SKEW else 0.0  # the same whichever way it is turned
    if skew:
        measured = replace(measured, paper=_straight_box(measured.paper, gray.shape, skew))
        gray = _straight(gray, skew)
    return Standing(gray, (look.rotation + rotation) % 360, skew, inverted, measured)


def stand_as(image: Image.Image, stance: Stance) -> Standing:
    """The page as it is known to stand."""
    gray = _turned(np.asarray(image.convert("L")), stance.rotation)
    return Standing(_straight(gray, stance.skew) if stance.skew else gray, stance.rotation, stance.skew)


def shown(image: Image.Image, page: Standing) -> Image.Image:
    """The same page in its colours, as it stands; of half the size where it is very large."""
    if image.mode == "L":
        return Image.fromarray(page.gray)
    if image.width * image.height > SHOWN_PIXELS:
        image = image.reduce(2)
    if not page.rotation and not page.skew:
        return image
    pixels = _turned(np.asarray(image), page.rotation)
    return Image.fromarray(_straight(pixels, page.skew) if page.skew else pixels)


def for_engine(page: Standing, preparation: Preparation, dpi: int | None) -> ForEngine:
    """The page as the engine is to see it."""
    if page.measured is None:
        return ForEngine(page.gray, 0, 0, 1.0, dpi)
    left, top, right, bottom = _worth_cutting(page.measured.paper, page.gray.shape)
    gray = page.gray[top:bottom, left:right]
    if page.inverted:
        gray = cv2.bitwise_not(gray)  # type: ignore[assignment]
    letter = page.measured.letter_height
    gray, scale = _scaled(gray, letter)
    if preparation is Preparation.FADED:
        gray = _darkened(gray)
    elif page.measured.uneven:
        gray = flatten(gray)
    if letter:
        gray = _without_lines(gray, letter * scale)
    return ForEngine(gray, left, top, scale, _resolution(dpi, letter, scale))


# ------------------------------------------------------------------ standing


def _measured(gray: Gray) -> tuple[Measured, bool]:
    """What was measured; and whether that is of light letters on dark paper."""
    measured = measure(gray)
    left, top, right, bottom = measured.paper
    if np.median(gray[top:bottom:4, left:right:4]) > DARK:
        return measured, False
    inverted = measure(cv2.bitwise_not(gray))  # type: ignore[arg-type]
    return (inverted, True) if inverted.letters > measured.letters else (measured, False)


def _rotation(measured: Measured) -> int:
    """Degrees clockwise that put the page on its feet. Lines that run down are read from below then."""
    return (270 if measured.runs_down > 0 else 0) + (180 if measured.head_up < 0 else 0)


def _turned(pixels: Pixels, rotation: int) -> Pixels:
    quarters = -(rotation // 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels


def _turned_box(box: tuple[int, int, int, int], shape: Any, rotation: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    height, width = shape[:2]
    for _ in range((rotation // 90) % 4):
        left, top, right, bottom = height - bottom, left, height - top, right
        height, width = width, height
    return left, top, right, bottom


def _straight(pixels: Pixels, skew: float) -> Pixels:
    """Turned back by `skew` degrees; the corners that are not on the page are white."""
    matrix, size = straightening(pixels.shape[1], pixels.shape[0], skew)
    return cv2.warpAffine(  # type: ignore[return-value]
        pixels, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255)
    )


def _straight_box(box: tuple[int, int, int, int], shape: Any, skew: float) -> tuple[int, int, int, int]:
    matrix, size = straightening(shape[1], shape[0], skew)
    left, top, right, bottom = box
    corners = np.array([[left, top, 1], [right, top, 1], [left, bottom, 1], [right, bottom, 1]]) @ matrix.T
    low, high = corners.min(axis=0).round().astype(int), corners.max(axis=0).round().astype(int)
    return max(0, int(low[0])), max(0, int(low[1])), min(size[0], int(high[0])), min(size[1], int(high[1]))


# ------------------------------------------------------------------ for the engine


def _worth_cutting(box: tuple[int, int, int, int], shape: Any) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    height, width = shape[:2]
    if right - left > MARGIN * width and bottom - top > MARGIN * height:
        return 0, 0, width, height
    return box


def _scaled(gray: Gray, letter: float) -> tuple[Gray, float]:
    if 0 < letter < SMALL:
        most = max(1.0, (MOST_PIXELS / gray.size) ** 0.5)
        scale, how = min(MOST_SCALE, SMALL_TO / letter, most), cv2.INTER_CUBIC
    elif letter > LARGE:
        scale, how = LARGE_TO / letter, cv2.INTER_AREA
    else:
        return gray, 1.0
    size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
    return cv2.resize(gray, size, interpolation=how), scale  # type: ignore[return-value]


def _darkened(gray: Gray) -> Gray:
    """Pale ink made black on white paper, in all its shades: the engine reads those better than two levels."""
    even = flatten(gray)
    ink, paper = (float(level) for level in np.percentile(even[::2, ::2].astype(np.float32), (INK_SHARE, 50)))
    scale = 255 / max(1.0, paper - ink)
    return cv2.convertScaleAbs(np.maximum(even, np.uint8(ink)), alpha=scale, beta=-ink * scale)  # type: ignore[return-value]


def _without_lines(gray: Gray, letter: float) -> Gray:
    """Ruled paper made plain. The few lines of a table stay: they tell the engine that it is one."""
    ink = cv2.bitwise_not(gray)
    length = max(40, round(LINE * letter))
    across = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    if _lines((across > FAINT).mean(axis=1)) < RULED:
        return gray
    down = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    if _lines((down > FAINT).mean(axis=0)) >= RULED:  # a grid
        return gray
    gap = max(3, round(letter / 3))
    ink = _without(ink, across, np.ones((gap, 1), np.uint8))
    ink = _without(ink, down, np.ones((1, gap), np.uint8))
    return cv2.bitwise_not(ink)  # type: ignore[return-value]


def _without(ink: cv2.typing.MatLike, lines: cv2.typing.MatLike, bridge: Pixels) -> cv2.typing.MatLike:
    """The ink without the lines; where a line crosses a letter, there is ink on both sides of it: that stays."""
    rest = cv2.subtract(ink, lines)
    bridged = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, bridge)
    return cv2.max(rest, cv2.min(lines, bridged))


def _lines(inked: NDArray[np.float64]) -> int:
    """How many lines there are, from the part of each row of pixels that is line."""
    on = np.concatenate([[False], inked > LINE_COVERS])
    return int((on[1:] & ~on[:-1]).sum())


def _resolution(dpi: int | None, letter: float, scale: float) -> int | None:
    """Dots an inch to tell the engine: as the file says, unless its letters would be absurd.

    Within what the engine is at ease with: what counts is how high letters are, and that has been seen to.
    """
    told = letter / LETTER_INCHES
    if letter and (dpi is None or not told / ABSURD < dpi < told * ABSURD):
        dpi = round(told)
    return min(max(round(dpi * scale), EASY_DPI[0]), EASY_DPI[1]) if dpi else None
