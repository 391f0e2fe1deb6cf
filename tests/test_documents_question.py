"""The question in the midst of opening a page: who knows the page already has nothing made for the engine."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import indent

import pytest
from pikepdf import Pdf
from PIL import Image

from batches.documents import Kind, Limits, Look, PageImage, Stance, cage, load_page
from batches.errors import CorruptFile, EngineTimeout, OcrError
from batches.helper import PROJECT
from tests.conftest import wait_for
from tests.pdfs import add_page, image_at, write_text_pdf
from tests.scans import DPI, scan, write_scans
from tests.test_faults import children

LIMITS = Limits()


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return write_scans(tmp_path / "scans", 1)[0]


def test_a_known_page_is_made_for_people_only(card: Path, tmp_path: Path):
    page = load_page(card, Kind.PNG, 0, tmp_path, LIMITS, known=lambda digest: Stance())
    assert (page.known, len(page.digest)) == (True, 64)
    assert page.rendition.exists()
    assert not page.gray.exists()


def test_a_page_that_is_not_known_is_made_whole(card: Path, tmp_path: Path):
    page = load_page(card, Kind.PNG, 0, tmp_path, LIMITS, known=lambda digest: None)
    image = scan(1)
    digest = hashlib.sha256(f"L {image.width} {image.height} {DPI}\n".encode() + image.tobytes()).hexdigest()
    assert (page.known, page.digest) == (False, digest)
    assert page.gray.exists()


def test_people_see_a_known_page_as_it_stood_then(card: Path, tmp_path: Path):
    """Which was found out when it was read, and costs nothing now."""
    page = load_page(card, Kind.PNG, 0, tmp_path, LIMITS, look=Look(180), known=lambda digest: Stance(90))
    with Image.open(page.rendition) as seen:
        assert (page.width, page.height) == seen.size == (700, 1000)


def test_without_a_question_nothing_is_hashed(card: Path, tmp_path: Path):
    page = load_page(card, Kind.PNG, 0, tmp_path, LIMITS)
    assert (page.known, page.digest) == (False, "")


def test_the_same_scan_in_a_pdf_is_the_same_page(tmp_path: Path):
    scan(1).save(tmp_path / "card.tif", dpi=(DPI, DPI))
    inches = [side / DPI for side in scan(1).size]
    with Pdf.new() as pdf:
        size = (72 * inches[0], 72 * inches[1])
        add_page(pdf, image_at(0, 0, *size), image=scan(1), size=size)
        pdf.save(tmp_path / "card.pdf")
    of_tiff, of_pdf = (
        load_page(tmp_path / name, kind, 0, tmp_path, LIMITS, known=lambda digest: None).digest
        for name, kind in (("card.tif", Kind.TIFF), ("card.pdf", Kind.PDF))
    )
    assert of_tiff == of_pdf


def test_nothing_is_asked_of_a_page_that_brings_its_text(tmp_path: Path):
    path = write_text_pdf(tmp_path / "a.pdf", ["A letter to the council of the parish, and its answer."] * 3)
    page = load_page(path, Kind.PDF, 0, tmp_path, LIMITS, known=lambda digest: pytest.fail("asked"))
    assert page.words


def test_what_the_answer_takes_is_not_the_files_time(card: Path, tmp_path: Path):
    def slowly(digest: str) -> None:
        time.sleep(1.5)

    assert load_page(card, Kind.PNG, 0, tmp_path, Limits(seconds=1.0), known=slowly).gray.exists()


def test_an_answer_that_fails_ends_the_process_and_the_next_request_is_served(card: Path, tmp_path: Path):
    def fails(digest: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        load_page(card, Kind.PNG, 0, tmp_path, LIMITS, known=fails)
    assert not load_page(card, Kind.PNG, 0, tmp_path, LIMITS, known=lambda digest: None).known


def test_a_process_that_ends_while_it_waits_for_the_answer(card: Path, tmp_path: Path):
    """As when its batch is cancelled in this moment."""

    def killed_meanwhile(digest: str) -> Stance:
        os.kill(int((tmp_path / "pid").read_text()), 9)
        return Stance()

    with pytest.raises(OcrError):
        load_page(card, Kind.PNG, 0, tmp_path, LIMITS, known=killed_meanwhile)
    assert not load_page(card, Kind.PNG, 0, tmp_path, LIMITS, known=lambda digest: None).known


def test_who_dies_over_the_answer_takes_everything_along(card: Path, tmp_path: Path):
    script = (
        "import sys, time; from pathlib import Path; from batches.documents import *;"
        "load_page(Path(sys.argv[1]), Kind.PNG, 0, Path(sys.argv[2]), Limits(), known=lambda d: print(d, flush=True) or time.sleep(60))"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script, str(card), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout
    assert len(worker.stdout.readline()) == 65, "asked"
    child = int((tmp_path / "pid").read_text())
    (helper,) = children(worker.pid)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (child, helper)), 5)


# ------------------------------------------------------------------ what a hostile process may do

DIGEST = "a" * 64
SABOTAGE = """
from batches.documents import opening
from batches.documents.pages import PageImage

def load_page(request, limits, ask):
    import os, time
    say, hear = ask.args[0].send_bytes, ask.args[0].recv_bytes
    page = dict(vars(PageImage(None, 1, 1, None, digest="a" * 64, known=True)))
    del page["folder"]
    open("page.jpg", "w").close()
%s
    return page

opening.DO["load_page"] = load_page
"""


class Hostile:
    """A process that the file has taken over: it does as it is told, and `asked` is what reaches the worker."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.asked: list[str] = []
        monkeypatch.setitem(cage.ENVIRONMENT, "PYTHONPATH", f"{folder}{os.pathsep}{PROJECT}")

    def does(self, script: str, *, knows: bool = False, asks: bool = True, seconds: float = 18) -> PageImage:
        def known(digest: str) -> Stance | None:
            self.asked.append(digest)
            return Stance() if knows else None

        (self.folder / "sitecustomize.py").write_text(SABOTAGE % indent(script, "    "))
        cage.stop_helper()
        limits = Limits(seconds=seconds)
        path = self.folder / "page.jpg"
        return load_page(path, Kind.PNG, 0, self.folder, limits, known=known if asks else None)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    yield Hostile(tmp_path, monkeypatch)
    cage.stop_helper()


def test_a_process_that_keeps_to_the_rules_is_believed(hostile: Hostile):
    assert hostile.does("ask('a' * 64)", knows=True).known
    assert hostile.asked == [DIGEST]


@pytest.mark.parametrize(
    "script",
    [
        "page['scale'] = 0",
        "page['left'] = 5",
        "page['rotation'] = 45",
        "page['skew'] = float('nan')",
        "page['width'] = 'a'",
    ],
)
def test_a_page_that_cannot_lie_like_that_is_refused(hostile: Hostile, script: str):
    with pytest.raises(CorruptFile):
        hostile.does(f"ask('a' * 64); {script}", knows=True)


@pytest.mark.parametrize(
    "script",
    [
        "say(b'?')",
        "say(b'?' + b'A' * 64)",
        "say(b'?' + b'a' * 64 + bytes(1))",
        "say(b'?' + b'a' * 50_000_000)",
    ],
    ids=["empty", "no hex", "too long", "huge"],
)
def test_rubbish_is_no_question(hostile: Hostile, script: str):
    with pytest.raises(CorruptFile):
        hostile.does(f"{script}; hear()")
    assert not hostile.asked


@pytest.mark.parametrize(
    ("script", "knows"),
    [
        ("ask('a' * 64); ask('b' * 64)", False),
        ("ask('a' * 64)", False),
        ("ask('b' * 64)", True),
        ("pass", True),
        ("say(b'], [')", True),
    ],
    ids=["a second question", "known, it claims", "another page than asked", "never asked", "no answer"],
)
def test_a_process_that_breaks_the_rules_is_damaged(hostile: Hostile, script: str, knows: bool):
    with pytest.raises(CorruptFile):
        hostile.does(script, knows=knows)
    assert len(hostile.asked) <= 1


def test_a_question_that_is_not_wanted_reaches_nobody(hostile: Hostile):
    with pytest.raises(CorruptFile):
        hostile.does("ask('a' * 64)", asks=False)


def test_a_process_that_asks_and_goes_on_for_ever_is_ended(hostile: Hostile):
    started = time.monotonic()
    with pytest.raises(EngineTimeout):
        hostile.does("ask('a' * 64); time.sleep(60)", seconds=0.5)
    assert time.monotonic() - started < 5


def test_a_process_that_asks_and_does_not_listen(hostile: Hostile):
    with pytest.raises(CorruptFile):
        hostile.does("say(b'?' + b'a' * 64); os.kill(os.getpid(), 11)")
