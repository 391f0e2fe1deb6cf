"""What a page's image tells of itself: how its lines lie, which way is up, how high the letters are.

Everything is measured on a small grey copy. Angles are in degrees, clockwise as the page is seen.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from batches.documents.paper import Gray, flatten, is_uneven, paper_box, straight

Points = NDArray[np.float32]

SMALL_SIDE = 1500  # pixels of the longer side of the copy: 130 dpi for a page of A4
MAX_SKEW = 15.0  # degrees either way
POINTS = 20_000  # of ink that are looked at
NEIGHBOURS_OF = 200  # letters
MARKS = 20_000  # that are looked at: more have newspapers, and pictures of gravel
FAINT_INK = 18.0  # levels of grey off the paper, below which nothing is ink
LARGEST_LETTER = 0.12  # of the page's longer side
LITTLE_SKEW = 1.0  # degrees, up to which letters can be measured as they lie
GUTTER = 6  # quarters of a letter's height: wider than the spaces between a typewriter's words
CROSSED = 0.48  # of the lines with text on both sides; where there is one column, it is 0.58 and more
LEAST_COLUMN, LEAST_LINES = 0.15, 8  # of the text; on both sides of the gutter
SURE_WAY, SURE_HEAD = 1.0, 3.0
AS_PAPER = 0.8  # of the paper's brightness: as light are letters on a dark banner, and not the edges of pages
LIGHT_LETTERS = 15  # so many beside the paper are text: some specks there always are
ENOUGH = 8  # letters, below which nothing is said of a page


@dataclass(frozen=True)
class Measured:
    """Of a page as it lies. Lengths in its own pixels."""

    paper: tuple[int, int, int, int]  # left, top, right, bottom
    runs_down: float = 0.0  # above 0: its lines run down the page; the further from 0, the surer
    skew: float = 0.0  # degrees clockwise by which lines are tilted, once they run across
    head_up: float = 0.0  # below 0: it stands on its head, once lines run across
    letter_height: float = 0.0  # the middle of all letters', 0 where there are too few
    letters: int = 0
    columns: bool = False  # more than one
    uneven: bool = False  # the paper is shady, or not white

    @property
    def doubts(self) -> tuple[int, ...]:
        """Degrees by which it may lie otherwise than was measured, the likeliest first."""
        head = (180,) if self.head_up < SURE_HEAD else ()  # capitals and other scripts seem to stand on it
        return head + ((90, 270) if abs(self.runs_down) < SURE_WAY else ())


def measure(gray: Gray) -> Measured:
    """Measure the page (8 bits, dark on light)."""
    small, scale = _small(gray)
    left, top, right, bottom = _without_losing_letters(small, paper_box(small))
    seen = small[top:bottom, left:right]
    flat, uneven = flatten(seen), is_uneven(seen)
    marks = _marks(flat)
    height, width = gray.shape
    paper = (
        round(left / scale),
        round(top / scale),
        min(width, round(right / scale)),
        min(height, round(bottom / scale)),
    )
    if len(marks.sizes) < ENOUGH:
        return Measured(paper, letters=len(marks.sizes), uneven=uneven)
    runs_down = _runs_down(marks)
    lying = marks.turned() if runs_down > 0 else marks
    skew = _skew(lying)
    if abs(skew) > LITTLE_SKEW:  # boxes around tilted letters are higher than the letters
        flat = straight(np.rot90(flat) if runs_down > 0 else flat, skew)
        standing = _marks(flat)
    if abs(skew) <= LITTLE_SKEW or len(standing.sizes) < ENOUGH:
        standing = lying.straightened(skew)
    return Measured(
        paper,
        runs_down,
        skew,
        _head_up(standing),
        standing.height / scale,
        len(marks.sizes),
        _has_columns(standing),
        uneven,
    )


def _without_losing_letters(small: Gray, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The box, wider where light letters stand beside it: on a dark banner, or on another card."""
    height, width = small.shape
    left, top, right, bottom = box
    beside = small[:, :left], small[:top], small[:, right:], small[bottom:]
    light = AS_PAPER * float(np.median(small[top:bottom:4, left:right:4]))
    keep = [part.size > 0 and _has_letters_of(part, light) for part in beside]
    return (
        0 if keep[0] else left,
        0 if keep[1] else top,
        width if keep[2] else right,
        height if keep[3] else bottom,
    )


def _has_letters_of(dark: Gray, light: float) -> bool:
    """Whether light letters stand there side by side; the edges of a book's pages lie one below the other."""
    marks = _marks(np.where(dark > light, 0, 255).astype(np.uint8))
    if len(marks.sizes) < LIGHT_LETTERS:
        return False
    beside, below = _neighbours(marks.middles)
    return beside > below


def _small(gray: Gray) -> tuple[Gray, float]:
    scale = min(1.0, SMALL_SIDE / max(gray.shape))
    if scale == 1.0:
        return gray, 1.0
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA), scale  # type: ignore[return-value]


# ------------------------------------------------------------------ marks


@dataclass(frozen=True)
class Marks:
    """What looks like letters, one a row: where its middle is (x, y), how wide and high it is; and their ink."""

    middles: Points
    sizes: Points
    ink: Points

    def turned(self) -> "Marks":
        """The same a quarter turned to the left: what ran down the page runs across it from the left."""
        return Marks(_turned(self.middles), self.sizes[:, ::-1], _turned(self.ink))

    def straightened(self, skew: float) -> "Marks":
        """The same without the tilt."""
        return Marks(_rotated(self.middles, skew), self.sizes, _rotated(self.ink, skew))

    @property
    def height(self) -> float:
        """Of a letter, as it lies: the middle one of all, which in print is hardly more than an x."""
        return float(np.median(self.sizes[:, 1]))


def _turned(points: Points) -> Points:
    return np.stack([points[:, 1], -points[:, 0]], axis=1)


def _rotated(points: Points, skew: float) -> Points:
    a = np.deg2rad(skew)
    x, y = points[:, 0], points[:, 1]
    return np.stack([x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)], axis=1)


def _marks(flat: Gray) -> Marks:
    level, _ = cv2.threshold(flat, 0, 255, cv2.THRESH_OTSU)
    mask = (flat <= min(level, _faintest(flat))).astype(np.uint8)
    _, labels, stats, middles = cv2.connectedComponentsWithStats(mask, connectivity=8)
    short, long = np.sort(stats[:, 2:4], axis=1).T
    letter = (short >= 2) & (long >= 4) & (long <= LARGEST_LETTER * max(flat.shape)) & (long < 9 * short)
    letter[0] = False  # the paper
    if letter.any():  # what is most of the ink, not most in number: a ruled line may be in a hundred pieces
        middle = _weighted_median(long[letter], long[letter])
        letter &= (long < 6 * middle) & (long > middle / 3)
    some = np.flatnonzero(letter)
    if len(some) > MARKS:
        letter[:] = False
        letter[some[:: len(some) // MARKS + 1]] = True
    ys, xs = np.nonzero(letter[labels])
    chosen = np.linspace(0, len(xs) - 1, min(POINTS, len(xs))).astype(np.int64)
    ink = np.stack([xs[chosen], ys[chosen]], axis=1).astype(np.float32)
    ink += np.random.default_rng(1).random(ink.shape, np.float32)  # else angles of whole rows look sharpest
    return Marks(middles[letter].astype(np.float32), stats[letter, 2:4].astype(np.float32), ink)


def _faintest(flat: Gray) -> float:
    """The level of grey that may still be ink: so far off the paper that it is not the paper's grain."""
    median = float(np.median(flat))
    grain = 1.48 * float(np.median(np.abs(flat[::3, ::3].astype(np.float32) - median)))  # like a deviation
    return median - max(FAINT_INK, 6 * grain)


def _weighted_median(values: NDArray[np.int32], weights: NDArray[np.int32]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


# ------------------------------------------------------------------ direction


def _runs_down(marks: Marks) -> float:
    """Above 0 where lines run down the page, below 0 where across; within ±1 it is a guess."""
    down = _sharpness_at_best(marks.turned()) / _sharpness_at_best(marks)
    beside, below = _neighbours(marks.middles)
    return float(np.log(down) + np.log((below + 0.05) / (beside + 0.05)))


def _sharpness_at_best(marks: Marks) -> float:
    rows = max(1.0, float(np.median(marks.sizes.min(axis=1))) / 2)
    angles = np.arange(-MAX_SKEW, MAX_SKEW + 0.5, 1.0)
    return max(_sharpness(marks.ink, float(angle), rows) for angle in angles) + 1e-6


def _neighbours(middles: Points) -> tuple[float, float]:
    """Of each letter's nearest three, the part that stands beside it, and the part above and below."""
    some = middles[np.random.default_rng(1).permutation(len(middles))[:NEIGHBOURS_OF]]
    distances = np.square(some[:, :1] - middles[:, 0]) + np.square(some[:, 1:] - middles[:, 1])
    nearest = np.argpartition(distances, 3, axis=1)[:, :4]  # itself among them
    ways = (middles[nearest] - some[:, None, :])[np.take_along_axis(distances, nearest, axis=1) > 0]
    angles = np.degrees(np.arctan2(ways[..., 1], ways[..., 0])) % 180
    return float(((angles < 20) | (angles > 160)).mean()), float(((angles > 70) & (angles < 110)).mean())


def _skew(marks: Marks) -> float:
    """The angle at which the profile of the rows is sharpest: first roughly, then to a twentieth of a degree."""
    best = 0.0
    for step, reach, rows in ((1.0, MAX_SKEW, 3.0), (0.25, 1.0, 1.5), (0.05, 0.25, 1.0)):
        angles = np.arange(best - reach, best + reach + step / 2, step)
        best = float(max(angles, key=lambda angle: _sharpness(marks.ink, float(angle), rows)))
    return round(min(max(best, -MAX_SKEW), MAX_SKEW), 2)


def _sharpness(ink: Points, skew: float, row: float) -> float:
    """How much neighbouring rows (of so many pixels) differ in ink, once lines with this tilt are straight."""
    a = np.deg2rad(skew)
    rows = (ink[:, 1] * np.cos(a) - ink[:, 0] * np.sin(a)) / row
    profile = np.bincount((rows - rows.min()).astype(np.int64)).astype(np.float64)
    return float((np.diff(profile) ** 2).sum() / len(rows) / row)


# ------------------------------------------------------------------ head and feet


def _head_up(marks: Marks) -> float:
    """How surely the page stands on its feet: standard deviations, below 0 where it stands on its head.

    Latin letters reach up (b, d, h, k, l, t, capitals) about three times as often as down (g, p, q, y). Each
    letter is held against the next on its line (R. Caprari, Duplicate document detection by template matching,
    Image and Vision Computing 18, 2000, section 3, counts the same per line).
    """
    order = np.lexsort((marks.middles[:, 0], np.round(marks.middles[:, 1] / (2 * marks.height))))
    top = (marks.middles[:, 1] - marks.sizes[:, 1] / 2)[order]
    bottom = (marks.middles[:, 1] + marks.sizes[:, 1] / 2)[order]
    x = marks.middles[order, 0]
    near = (np.diff(x) > 0) & (np.diff(x) < 4 * marks.height)
    tops, bottoms = np.abs(np.diff(top)) / marks.height, np.abs(np.diff(bottom)) / marks.height
    up = int((near & (bottoms < 0.15) & (tops > 0.25) & (tops < 1.0)).sum())
    down = int((near & (tops < 0.15) & (bottoms > 0.25) & (bottoms < 1.0)).sum())
    return float((up - down) / np.sqrt(up + down + 1))


# ------------------------------------------------------------------ columns


def _has_columns(marks: Marks) -> bool:
    """Whether there is a gutter down the page that hardly a line crosses, with text on both sides."""
    taken = _taken(marks)
    before = np.maximum.accumulate(taken, axis=1)[:, : -GUTTER - 1]
    after = np.maximum.accumulate(taken[:, ::-1], axis=1)[:, ::-1][:, GUTTER + 1 :]
    around = before & after  # of the gutter that begins one cell further right
    so_far = np.cumsum(taken, axis=1)
    crossed = around & (so_far[:, GUTTER:-1] > so_far[:, : -GUTTER - 1])
    part = so_far[:, : -GUTTER - 1].sum(axis=0) / max(1, int(so_far[:, -1].sum()))
    lines = around.sum(axis=0)
    possible = (part > LEAST_COLUMN) & (part < 1 - LEAST_COLUMN) & (lines >= LEAST_LINES)
    return bool((possible & (crossed.sum(axis=0) < CROSSED * lines)).any())


def _taken(marks: Marks) -> NDArray[np.bool_]:
    """The page in cells of a line's height and a quarter of a letter's width: which have letters in them."""
    x, y = marks.middles.T
    half = marks.sizes[:, 0] / 2
    x, y = x - (x - half).min(), y - y.min()
    first = (4 * (x - half) / marks.height).astype(int)
    last = (4 * (x + half) / marks.height).astype(int)
    row = (y / (1.5 * marks.height)).astype(int)
    taken = np.zeros((row.max() + 1, last.max() + 2), np.bool_)
    for cell in range(int((last - first).max()) + 1):
        taken[row, np.minimum(first + cell, last)] = True
    return taken
