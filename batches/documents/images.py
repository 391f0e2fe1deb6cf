"""Images: opened, counted and decoded by Pillow, and written as Tesseract and people may have them.

Runs in the cage only. What Pillow raises for damaged files is left to the cage to tell.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pi_heif import register_heif_opener
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base as Exif

from batches.documents.kinds import Kind
from batches.documents.pages import (
    AS_IT_IS,
    RENDITION,
    WEIGHED,
    Document,
    Known,
    Limits,
    Look,
    PageImage,
    Word,
)
from batches.documents.preparation import Standing, for_engine, shown, stand, stand_as
from batches.errors import CorruptFile, TooLarge

Image.MAX_IMAGE_PIXELS = None  # the limit is ours: `check_size`, before anything is decoded
register_heif_opener(thumbnails=False)
Image.init()  # every plugin now, once: else each process would import them for itself

PLAUSIBLE_DPI = range(70, 2401)  # outside it, the file's word is worth nothing
JPEG_MAX_SIDE = 65_500  # JPEG_MAX_DIMENSION in libjpeg's jmorecfg.h
SQUARE = 1.2  # pixels whose sides differ by more are made square: a fax's are twice as high as wide
PHOTOMETRIC, ORIENTATION = Exif.PhotometricInterpretation, Exif.Orientation
WHITE_IS_ZERO = 0
STRIP_BYTES = 1 << 20  # of a page's pixels, hashed at a time


def inspect_image(path: Path, kind: Kind, limits: Limits) -> Document:
    """Count the pages, without decoding any. Raises TooLarge where there is nothing else than too large a page."""
    with _opened(path, kind) as image:
        frames: int = getattr(image, "n_frames", 1)
        if kind is Kind.TIFF and frames > 1:
            return Document(kind, frames, megapixels=tuple(_megapixels(image, frames)))
        check_size(image.width, image.height, limits.max_pixels)
        # Frames elsewhere are no pages: an animation, or (MPO) a camera's preview.
        animated = frames > 1 and image.format != "MPO"
        size = image.width * image.height / 1e6
        return Document(kind, 1, _first_of(frames) if animated else "", megapixels=(size,))


def _megapixels(image: Image.Image, frames: int) -> Iterator[float]:
    """How large the first frames are, up to one that is damaged: that is told when it is read."""
    with suppress(Exception):
        for index in range(min(frames, WEIGHED)):
            image.seek(index)
            yield image.width * image.height / 1e6


def load_image(
    path: Path,
    kind: Kind,
    index: int,
    folder: Path,
    limits: Limits,
    *,
    look: Look,
    known: Known | None = None,
) -> PageImage:
    """Decode page `index`, upright by the file's own word, and write it to `folder`."""
    with _opened(path, kind) as image:
        frames: int = getattr(image, "n_frames", 1)
        note = _first_of(frames) if frames > 1 and kind is not Kind.TIFF and image.format != "MPO" else ""
        if index >= frames:
            raise CorruptFile("The page is missing from the file. Export it again and upload it.")
        if frames > 1:
            image.seek(index)
        check_size(image.width, image.height, limits.max_pixels)
        dpi = _dpi(image)
        seen = _as_seen(image)
    sides = _sides(seen, dpi)
    if sides != seen.size:
        check_size(*sides, limits.max_pixels)
        seen = seen.resize(sides, Image.Resampling.BICUBIC)
    return write_page(seen, _plausible(max(dpi)), folder, note, look=look, known=known)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise TooLarge where the page has more than `max_pixels` pixels."""
    if width * height > max_pixels:
        raise TooLarge(
            f"The page has {width} × {height} pixels; {max_pixels / 1e6:.0f} million are read at the most. "
            "Scan it at a lower resolution."
        )


def write_page(
    image: Image.Image,
    dpi: int | None,
    folder: Path,
    note: str = "",
    *,
    words: tuple[Word, ...] | None = None,
    look: Look = AS_IT_IS,
    known: Known | None = None,
) -> PageImage:
    """Write the page (mode `L` or `RGB`) upright for people, and unless its words are known for the engine.

    `known` is asked before anything else is done; a page that it knows is made to stand as it stood then.
    """
    started = time.monotonic()
    if words is not None:
        _write_rendition(image, folder)
        return PageImage(folder, image.width, image.height, dpi, False, note, words)
    digest = digest_of(image, dpi) if known else ""
    stance = known(digest) if known else None
    standing = stand_as(image, stance) if stance else stand(image, look)
    _write_rendition(shown(image, standing), folder)
    page = PageImage(
        folder,
        width=standing.gray.shape[1],
        height=standing.gray.shape[0],
        dpi=dpi,
        note=note,
        rotation=standing.rotation,
        skew=standing.skew,
        digest=digest,
        known=stance is not None,
    )
    if not stance:
        page = _write_for_engine(page, standing, look)
    return replace(page, seconds={"prepare": time.monotonic() - started})


def _write_for_engine(page: PageImage, standing: Standing, look: Look) -> PageImage:
    """Write what the engine sees; the page with all that is to be known for reading it."""
    seen = for_engine(standing, look.preparation, page.dpi)
    _write(Image.fromarray(seen.gray), page.gray, "TIFF", dpi=(seen.dpi, seen.dpi) if seen.dpi else None)
    measured = standing.measured
    return replace(
        page,
        left=seen.left,
        top=seen.top,
        scale=seen.scale,
        gray_size=(seen.gray.shape[1], seen.gray.shape[0]),
        blank=looks_blank(standing.gray) and not (measured and measured.letters),
        columns=measured.columns if measured else None,
        letters=measured.letters if measured else 0,
        doubts=measured.doubts if measured and measured.letters and not look.rotation else (),
    )


def _write_rendition(image: Image.Image, folder: Path) -> None:
    image.info.clear()  # compression, profiles and tags of the original, which would come along
    if max(image.size) > JPEG_MAX_SIDE:
        image = ImageOps.contain(image, (JPEG_MAX_SIDE, JPEG_MAX_SIDE))
    _write(image, folder / RENDITION, "JPEG", quality=80)


def digest_of(image: Image.Image, dpi: int | None) -> str:
    """The SHA-256 in hex of what is on the page: pixels, size, mode, resolution. A strip at a time, not in a copy."""
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height} {dpi}\n".encode())
    rows = max(1, STRIP_BYTES // (image.width * len(image.getbands())))
    for top in range(0, image.height, rows):
        digest.update(image.crop((0, top, image.width, min(top + rows, image.height))).tobytes())
    return digest.hexdigest()


def looks_blank(gray: NDArray[np.uint8]) -> bool:
    """Whether hardly a pixel stands out: fewer than 1 in 5,000 are 64 levels off the median."""
    some = gray[::4, ::4]
    off = np.abs(some.astype(np.int16) - np.median(some)) > 64
    return bool(off.mean() < 1 / 5000)


def _write(image: Image.Image, path: Path, format_: str, **options: object) -> None:
    """By way of memory: Pillow does not notice a disk that takes only a part."""
    content = BytesIO()
    image.save(content, format_, **options)
    path.write_bytes(content.getbuffer())


@contextmanager
def _opened(path: Path, kind: Kind) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=[kind.value]) as image:
            yield image
    except UnidentifiedImageError as error:
        raise CorruptFile from error  # its first bytes were right


def _first_of(frames: int) -> str:
    return f"First of {frames} frames; the others are not read."


# ------------------------------------------------------------------ resolution


def _plausible(value: float) -> int | None:
    return round(value) if round(value) in PLAUSIBLE_DPI else None


def _dpi(image: Image.Image) -> tuple[float, float]:
    """Across and down the page as it will be seen; zeros where the file does not tell."""
    across, down = image.info.get("dpi") or (0, 0)
    on_its_side = image.getexif().get(ORIENTATION, 1) >= 5
    return (float(down), float(across)) if on_its_side else (float(across), float(down))


def _sides(image: Image.Image, dpi: tuple[float, float]) -> tuple[int, int]:
    """The page's size with square pixels."""
    across, down = dpi
    if not _plausible(across) or not _plausible(down):
        return image.size
    ratio = across / down
    if ratio > SQUARE:
        return image.width, round(image.height * ratio)
    if ratio < 1 / SQUARE:
        return round(image.width / ratio), image.height
    return image.size


# ------------------------------------------------------------------ colours


def _as_seen(frame: Image.Image) -> Image.Image:
    """Decode to mode `L` or `RGB`: turned as the camera says, transparency on white, 16 bits as 8."""
    frame.load()
    inverted = _is_inverted(frame)
    ImageOps.exif_transpose(frame, in_place=True)
    image = _as_eight_bits(frame)
    return ImageChops.invert(image) if inverted else image


def _is_inverted(frame: Image.Image) -> bool:
    """Pillow minds TIFF's "white is zero" for up to 8 bits a sample, and not for more."""
    tags = getattr(frame, "tag_v2", {})
    return _is_deep(frame) and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _as_eight_bits(image: Image.Image) -> Image.Image:
    if _is_deep(image):
        return _from_deep(image)
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """16 bits by their upper 8; 12 bits in 16 by theirs; floating point and 32 bits by what there is."""
    low, high = (float(level) for level in image.getextrema())  # type: ignore[arg-type]
    if high <= 1.0 and image.mode == "F":
        scale = 255.0
    elif high <= 255:
        scale = 1.0
    elif high < 1 << 12:
        scale = 1 / 16
    elif high < 1 << 16:
        scale = 1 / 256
    else:
        scale = 255 / (high - low or 1.0)
    offset = -low * scale if high >= 1 << 16 or low < 0 else 0.0
    return image.convert("F").point(lambda level: level * scale + offset).convert("L")


def _on_white(image: Image.Image) -> Image.Image:
    """Transparency shows white paper. With no copy in between: pages are large."""
    if image.mode not in ("LA", "RGBA"):
        image = image.convert("RGBA")
    if image.mode == "LA":
        paper = Image.new("L", image.size, "white")
        paper.paste(image.getchannel("L"), mask=image)
    else:
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image)
    return paper
