"""The language models that are installed, by their content: with another model, a page is another recognition."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from batches.errors import EngineMissing

ORIENTATION = "osd"  # read beside each language, where it is there


def model_digests(languages: Iterable[str]) -> tuple[str, ...]:
    """The SHA-256 in hex of each language's model, and of the one for orientation; empty for one that is missing."""
    folder = _folder(os.environ.get("TESSDATA_PREFIX", ""))
    return tuple(_digest_if_there(folder / f"{name}.traineddata") for name in (*languages, ORIENTATION))


@cache
def _folder(prefix: str) -> Path:
    """Where Tesseract looks for them: with TESSDATA_PREFIX there, else as it says itself."""
    if prefix:
        return Path(prefix)
    command = ["tesseract", "--list-langs"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineMissing from error
    return Path(answer.stdout.partition('"')[2].partition('"')[0])


def _digest_if_there(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return _digest(path, found.st_size, found.st_mtime_ns)


@cache
def _digest(path: Path, size: int, modified: int) -> str:
    """Computed once a process, and anew once the file is another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
