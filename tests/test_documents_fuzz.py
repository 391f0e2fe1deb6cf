"""Whatever the bytes: pages or a domain error, in bounded time, and nothing else."""

import tempfile
import time
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from batches.documents import Archive, Limits, inspect, load_page, unpack
from batches.errors import EngineTimeout, FileError, OutOfMemory
from tests.pdfs import write_text_pdf
from tests.scans import LINES, draw, lines_of, write_many_pages

LIMITS = Limits(max_pages=50, max_pixels=5_000_000, seconds=5, memory=1024**3)
REFUSALS = (FileError, OutOfMemory, EngineTimeout)
BOUND = LIMITS.seconds + 5
BOUNDED = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
IMAGES = ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM", "AVIF", "MPO"]
KINDS = [*IMAGES, "TIFF pages", "PDF text", "PDF scans", "ZIP"]
HEADS = [
    b"",
    b"%PDF-1.7\n",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"II*\0",
    b"MM\0*",
    b"GIF89a",
    b"PK\x03\x04",
]
HEADS += [b"RIFF\0\0\0\0WEBP", b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0", b"\0\0\0\x0cjP  \r\n\x87\n", b"P6\n"]
HEADS += [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif"]


@cache
def good(kind: str) -> bytes:
    """A small good file of the kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made"
        image = draw(lines_of(1)[:2], size=(400, 200))
        match kind:
            case "TIFF pages":
                path = write_many_pages(path.with_suffix(".tif"), 2)
            case "PDF scans":
                path = write_many_pages(path.with_suffix(".pdf"), 1)
            case "PDF text":
                write_text_pdf(path, list(LINES))
            case "ZIP":
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("letters/card.png", good("PNG"))
                    archive.writestr("letters/card.jpg", good("JPEG"), zipfile.ZIP_DEFLATED)
            case _:
                content = BytesIO()
                image.save(content, kind)
                return content.getvalue()
        return path.read_bytes()


def open_all(content: bytes) -> str:
    """Open everything that is in the file, as workers do. Answers what came of it."""
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "handed-over"
            path.write_bytes(content)
            return _open(path, Path(folder))
    except REFUSALS as error:
        return error.code
    finally:
        assert time.monotonic() - started < BOUND


def _open(path: Path, folder: Path) -> str:
    document = inspect(path, LIMITS)
    if isinstance(document, Archive):
        unpack(path, {member: folder / str(member) for member, _ in enumerate(document.members, 1)}, LIMITS)
        return "members"
    page = load_page(path, document.kind, 0, folder, LIMITS)
    assert page.width * page.height <= LIMITS.max_pixels * 1.01
    assert page.rendition.stat().st_size
    return "page"


@pytest.mark.parametrize("kind", KINDS)
def test_the_good_files_are_good(kind: str):
    assert open_all(good(kind)) == ("members" if kind == "ZIP" else "page")


@BOUNDED
@given(st.sampled_from(HEADS), st.binary(max_size=4000))
def test_any_bytes(head: bytes, rest: bytes):
    assert open_all(head + rest)


@pytest.mark.parametrize("kind", KINDS)
@BOUNDED
@given(st.data())
def test_a_good_file_with_bytes_changed_removed_or_added(kind: str, data: st.DataObject):
    content = bytearray(good(kind))
    for _ in range(data.draw(st.integers(1, 8))):
        # Headers and directories stand at the ends: half of the changes go there.
        near = st.integers(0, min(200, len(content) - 1))
        at = data.draw(
            st.one_of(near, near.map(lambda n: len(content) - 1 - n), st.integers(0, len(content) - 1))
        )
        match data.draw(st.sampled_from(["change", "change", "big", "cut", "insert"])):
            case "change":
                content[at] = data.draw(st.integers(0, 255))
            case "big":
                content[at : at + 4] = b"\xff\xff\xff\x7f"[: len(content) - at]
            case "cut":
                del content[at : at + data.draw(st.integers(1, 2000))]
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=50))
        if not content:
            break
    assert open_all(bytes(content))
