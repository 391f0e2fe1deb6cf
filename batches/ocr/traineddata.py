"""Tesseract's models: files of a folder, `eng.traineddata`, `script/Fraktur.traineddata`."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from glob import glob
from pathlib import Path

ENDING = ".traineddata"
ORIENTATION = "osd"  # a model that finds how a page lies, and reads nothing


def languages_in(tessdata: Path) -> list[str]:
    """The models that are there, by the names Tesseract has for them."""
    names = glob(f"**/*{ENDING}", root_dir=tessdata, recursive=True)  # noqa: PTH207 # Path's follows no links
    return [name.removesuffix(ENDING) for name in names]


def readable(names: Iterable[str]) -> tuple[str, ...]:
    """Those that read, in order."""
    return tuple(sorted(set(names) - {ORIENTATION, ""}))


def digest_of(model: Path) -> str:
    """SHA-256 of the model's file in hex; empty where there is none. Computed anew when the file changes."""
    try:
        stat = model.stat()
    except OSError:
        return ""
    return _digest(model, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(model: Path, size: int, mtime: int) -> str:
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
