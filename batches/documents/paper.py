"""The paper that a page's letters stand on: where it lies in the picture, how light it is, how to lay it straight."""

import cv2
import numpy as np
from numpy.typing import NDArray

cv2.setNumThreads(1)  # parallel by pages, and no threads in a process that forks

Gray = NDArray[np.uint8]

BED = 0.15  # of the picture's edge that is dark, from which on it may be the scanner's bed
LEAST_PAPER = 0.25  # of the picture
LEAST_PIECE = 0.12  # of the picture: what is smaller is no sheet of its own, but the edges of a book's pages
EDGE, STEP = 16, 50  # pixels within which the paper begins, and levels of grey by which it is lighter
BESIDE = 40  # pixels beside where it seems to begin, as pages that lie below may show
UNEVEN = 12.0  # levels of grey between light and shady paper, from which it is made even


def paper_box(small: Gray) -> tuple[int, int, int, int]:
    """Where the paper lies on the scanner's dark bed; the whole where there is no such border."""
    h, w = small.shape
    level, _ = cv2.threshold(small, 0, 255, cv2.THRESH_OTSU)
    dark = small < level
    border = np.concatenate([dark[:3].ravel(), dark[-3:].ravel(), dark[:, :3].ravel(), dark[:, -3:].ravel()])
    if border.mean() < BED:
        return 0, 0, w, h
    light = cv2.morphologyEx((~dark).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    light = cv2.morphologyEx(light, cv2.MORPH_OPEN, np.ones((15, 15), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(light)
    if count < 2:
        return 0, 0, w, h
    x, y, across, down, area = stats[1:][stats[1:, cv2.CC_STAT_AREA] > LEAST_PIECE * h * w].T
    if area.sum() < LEAST_PAPER * h * w:
        return 0, 0, w, h
    left, top, right, bottom = int(x.min()), int(y.min()), int((x + across).max()), int((y + down).max())
    rows, columns = _edges(small[:, left:right], top, bottom), _edges(small[top:bottom].T, left, right)
    return columns[0], rows[0], columns[1], rows[1]


def _edges(strip: Gray, first: int, last: int) -> tuple[int, int]:
    """The rows where the paper begins and ends, if there is a sharp step; a shadow is no edge."""
    rows = np.median(strip, axis=1)
    begins = first > 0 and _has_step(rows[: first + BESIDE])
    ends = last < len(rows) and _has_step(rows[::-1][: len(rows) - last + BESIDE])
    return (first if begins else 0), (last if ends else len(rows))


def _has_step(rows: NDArray[np.float64]) -> bool:
    return len(rows) > EDGE and bool((rows[EDGE:] - rows[:-EDGE]).max() > STEP)


def flatten(gray: Gray) -> Gray:
    """The page on even white paper: each pixel over the paper's brightness around it."""
    return cv2.divide(gray, paper_of(gray), scale=255)  # type: ignore[return-value]


def is_uneven(gray: Gray) -> bool:
    """Whether the paper is shady, or not white."""
    low, high = np.percentile(paper_of(gray)[::8, ::8].astype(np.float32), (5, 95))
    return bool(high - low > UNEVEN or high < 255 - 2 * UNEVEN)


def paper_of(gray: Gray) -> Gray:
    """The paper without the ink: the brightest of each neighbourhood, made smooth."""
    step = max(1, max(gray.shape) // 250)
    tiny = cv2.resize(
        gray, (max(1, gray.shape[1] // step), max(1, gray.shape[0] // step)), interpolation=cv2.INTER_AREA
    )
    tiny = cv2.morphologyEx(tiny, cv2.MORPH_CLOSE, np.ones((11, 11), np.uint8))
    tiny = cv2.medianBlur(tiny, 9)
    return cv2.resize(tiny, (gray.shape[1], gray.shape[0]), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def straight(image: Gray, skew: float, paper: int = 255) -> Gray:
    """The picture turned back by `skew` degrees, as large as it has to be; its corners are filled with `paper`."""
    matrix, size = straightening(image.shape[1], image.shape[0], skew)
    return cv2.warpAffine(  # type: ignore[return-value]
        image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=paper
    )


def straightening(width: int, height: int, skew: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The affine matrix (2 × 3) that turns a picture back by `skew` degrees around its middle, and its new size."""
    a = np.deg2rad(skew)
    cos, sin = float(np.cos(a)), float(np.sin(a))
    size = (round(width * cos + height * abs(sin)), round(height * cos + width * abs(sin)))
    turn = np.array([[cos, sin], [-sin, cos]])
    middle = np.array([width - 1, height - 1]) / 2
    shift = (np.array(size) - 1) / 2 - turn @ middle
    return np.hstack([turn, shift[:, None]]), size
