"""A PDF page that is one scan: the scanned image as it is, instead of a rendering of it. In the cage only."""

from ctypes import c_uint
from math import atan2, degrees, hypot

import pypdfium2 as pdfium
from PIL import Image, ImageChops, ImageStat
from PIL.Image import Transpose
from pypdfium2 import raw as pdfium_c

from batches.documents.images import PLAUSIBLE_DPI
from batches.documents.layers import Layout, Matrix, Picture

COVERS = 0.9  # of the page's area, at the least
MAX_TILT = 6.0  # degrees off a right angle by which programs lay a scan on its page
GLANCE = (24, 32)  # pixels, to compare the image with the page as it is drawn
SAME_AT_A_GLANCE = 14.0  # levels of grey, root mean square; scans have 1 to 2, tilted ones about 9
RENDER_DPI = (200, 400)  # where the page has to be drawn: as its picture, within this

# Where the image's right and down point on the page, and how to turn it so that they do.
TURNS: dict[tuple[tuple[int, int], tuple[int, int]], Transpose | None] = {
    ((1, 0), (0, 1)): None,
    ((0, 1), (-1, 0)): Transpose.ROTATE_270,
    ((-1, 0), (0, -1)): Transpose.ROTATE_180,
    ((0, -1), (1, 0)): Transpose.ROTATE_90,
    ((-1, 0), (0, 1)): Transpose.FLIP_LEFT_RIGHT,
    ((1, 0), (0, -1)): Transpose.FLIP_TOP_BOTTOM,
    ((0, 1), (1, 0)): Transpose.TRANSPOSE,
    ((0, -1), (-1, 0)): Transpose.TRANSVERSE,
}


def take_scan(page: pdfium.PdfPage, layout: Layout, max_pixels: int) -> tuple[Image.Image, int | None] | None:
    """The one image that is the page, turned and cropped as the page shows it, and its dpi.

    None where there is more on the page than that image, or it is shown in another way than it is stored.
    """
    if len(layout.pictures) != 1 or layout.over or layout.visible_text or layout.filled_in:
        return None
    picture = layout.pictures[0]
    width, height = page.get_size()
    seen = picture.seen
    # The unit square is the image upside up: its top left corner is (0, 1).
    right = (seen.a * width, seen.b * height)
    down = (-seen.c * width, -seen.d * height)
    turn = (_direction(right), _direction(down))
    if picture.share < COVERS or turn not in TURNS or _tilt(right) > MAX_TILT:
        return None
    across, along = pixel_size(picture)
    if not 0 < across * along <= max_pixels:
        return None
    dpi = round(across / (hypot(*right) / 72))
    image = _turned(_decode(picture.object), TURNS[turn])
    if _tilt(right) < 0.5:
        image = _cropped(image, seen)
    if not _is_what_is_seen(image, page):
        return None
    return image, dpi if dpi in PLAUSIBLE_DPI else None


def own_dpi(page: pdfium.PdfPage, layout: Layout) -> int | None:
    """The resolution of the picture that is most of the page, within reason; None if there is none such."""
    large = [picture for picture in layout.pictures if picture.share > COVERS]
    if not large:
        return None
    width, height = page.get_size()
    across, _ = pixel_size(large[-1])
    inches = hypot(large[-1].seen.a * width, large[-1].seen.b * height) / 72
    return min(max(round(across / inches), RENDER_DPI[0]), RENDER_DPI[1]) if inches else None


def pixel_size(picture: Picture) -> tuple[int, int]:
    """The image's width and height as it is stored."""
    width, height = c_uint(), c_uint()
    pdfium_c.FPDFImageObj_GetImagePixelSize(picture.object, width, height)
    return width.value, height.value


def _direction(vector: tuple[float, float]) -> tuple[int, int]:
    x, y = vector
    return ((x > 0) - (x < 0), 0) if abs(x) > abs(y) else (0, (y > 0) - (y < 0))


def _tilt(vector: tuple[float, float]) -> float:
    """Degrees off the nearest right angle."""
    angle = degrees(atan2(vector[1], vector[0])) % 90
    return min(angle, 90 - angle)


def _decode(image: object) -> Image.Image:
    bitmap = pdfium_c.FPDFImageObj_GetBitmap(image)
    if not bitmap:
        raise pdfium.PdfiumError("the image cannot be decoded")
    pil: Image.Image = pdfium.PdfBitmap.from_raw(bitmap).to_pil()
    return pil.convert("L" if pil.mode in ("1", "L") else "RGB")


def _turned(image: Image.Image, turn: Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def _cropped(image: Image.Image, seen: Matrix) -> Image.Image:
    """Without what lies beyond the page's edges."""
    xs, ys = zip(*(seen.apply(x, y) for x in (0, 1) for y in (0, 1)), strict=True)
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    box = (
        max(0, round(-left / (right - left) * image.width)),
        max(0, round(-top / (bottom - top) * image.height)),
        min(image.width, round((1 - left) / (right - left) * image.width)),
        min(image.height, round((1 - top) / (bottom - top) * image.height)),
    )
    return image if box == (0, 0, *image.size) else image.crop(box)


def _is_what_is_seen(image: Image.Image, page: pdfium.PdfPage) -> bool:
    """Whether page and image look the same at a glance: masks, colour maps and the like change it."""
    scale = 4 * GLANCE[1] / max(page.get_size())
    drawn = (
        page.render(scale=scale, grayscale=True).to_pil().convert("L").resize(GLANCE, Image.Resampling.BOX)
    )
    stored = image.convert("L").resize(GLANCE, Image.Resampling.BOX)
    return ImageStat.Stat(ImageChops.difference(drawn, stored)).rms[0] < SAME_AT_A_GLANCE
