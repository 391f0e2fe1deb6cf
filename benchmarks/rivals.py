"""What the product is held against: public tools on the same images, English, `--psm 1`, one thread a process.

Each answers the seconds it took. Raises ValueError unless it has read every page.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.pages import Drawn, check

ONE_THREAD = {"OMP_THREAD_LIMIT": "1"}
PROGRAMS = Path(sys.executable).parent  # of the virtual environment


def xargs_tesseract(pages: list[Drawn], cores: int) -> float:
    """`xargs -P<cores> tesseract`, text as output."""
    with tempfile.TemporaryDirectory(prefix="ocr-xargs-") as out:
        folder = pages[0].path.parent
        command = ["xargs", f"-P{cores}", "-I{}", "tesseract", f"{folder}/{{}}.png", f"{out}/{{}}"]
        names = [page.path.stem for page in pages]
        seconds = _run([*command, "--psm", "1", "-l", "eng"], "\n".join(names))
        check(pages, [(Path(out) / f"{name}.txt").read_text() for name in names], "xargs tesseract")
    return seconds


def ocrmypdf(pages: list[Drawn], cores: int) -> float:
    """OCRmyPDF, given one PDF that holds the images as they are; making that is not in the seconds."""
    with tempfile.TemporaryDirectory(prefix="ocr-ocrmypdf-") as out:
        given, text = Path(out) / "given.pdf", Path(out) / "text"
        _run([str(PROGRAMS / "img2pdf"), *(str(page.path) for page in pages), "--output", str(given)])
        options = [f"-j{cores}", "--output-type", "pdf", "--optimize", "0", "--sidecar", str(text)]
        options += ["--tesseract-pagesegmode", "1", "--language", "eng", "--quiet"]
        seconds = _run([str(PROGRAMS / "ocrmypdf"), *options, str(given), f"{out}/read.pdf"])
        check(pages, text.read_text().removesuffix("\f").split("\f"), "ocrmypdf")
    return seconds


def pytesseract_loop(pages: list[Drawn]) -> float:
    """One page after the other by pytesseract: see `pytesseract_loop.py`."""
    return _told("benchmarks.pytesseract_loop", [], pages)


def tesserocr_alone(pages: list[Drawn], cores: int) -> float:
    """tesserocr without anything around it: see `tesserocr_alone.py`."""
    return _told("benchmarks.tesserocr_alone", [str(cores), _tessdata()], pages)


def _run(command: list[str], given: str = "") -> float:
    started = time.monotonic()
    # Its last words are shown only where it fails.
    ended = subprocess.run(
        command, input=given, capture_output=True, text=True, env=os.environ | ONE_THREAD, check=False
    )
    seconds = time.monotonic() - started
    if ended.returncode:
        raise ValueError(f"{command[0]} ended with status {ended.returncode}: {ended.stderr[-1000:]}")
    return seconds


def _told(module: str, arguments: list[str], pages: list[Drawn]) -> float:
    """What the module says of its own run."""
    command = [sys.executable, "-m", module, *arguments, *(str(page.path) for page in pages)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | ONE_THREAD)
    told = json.loads(answer.stdout)
    check(pages, told["texts"], module)
    return float(told["seconds"])


def _tessdata() -> str:
    """Where the system's language models are: both engines read with the same."""
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=True).stdout
    found = re.search(r'"(.+?)"', listed.splitlines()[0])
    assert found, listed
    return found[1]
