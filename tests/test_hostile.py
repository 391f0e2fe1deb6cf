"""Files that were made or found to break such services, each with what must come of it.

`python -m pytest tests/test_hostile.py -s` prints the table.
"""

import csv
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from batches import ocr
from batches.documents import Archive, Document, Limits, inspect, load_page, unpack
from batches.errors import OcrError
from batches.models import Page
from tests.conftest import check_invariants, ended, wait_for
from tests.environment import POSTGRES
from tests.scans import lines_of, write_scans

HOSTILE = Path(__file__).parents[2] / "shared" / "hostile"
pytestmark = [
    pytest.mark.skipif(not HOSTILE.exists(), reason="the hostile files are not here"),
    pytest.mark.skipif(POSTGRES is not None, reason="the database makes no difference"),
]

T = TypeVar("T")
LIMITS = Limits()
SECONDS, MEMORY = 20.0, 1.5 * 1024**3  # for each file, whatever it is
# The table has the words of another picture; what this one shows was looked at.
SHOWN = {"photo.heic": "PIZZA DOUGH WITH"}
LONG = 5  # of a longer document, so many pages tell enough


@dataclass(frozen=True)
class Expected:
    """What the table says of a file."""

    file: str
    outcome: str  # ocr, reject or either
    text: str  # that must be read, where something is; "-" for any, "(no text)" for none


@dataclass
class Found:
    """What came of a file: how many pages were read, what they say, and each refusal."""

    texts: list[str] = field(default_factory=list)
    errors: list[OcrError] = field(default_factory=list)
    seconds: float = 0.0  # the longest time that one file or page took to open

    @property
    def outcome(self) -> str:
        return "ocr" if self.texts else "reject"


def table() -> list[Expected]:
    if not HOSTILE.exists():
        return []
    with (HOSTILE / "EXPECT.tsv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [
            Expected(row["file"], row["expect"], SHOWN.get(row["file"], row["must_contain"])) for row in rows
        ]


def read_all(path: Path, found: Found) -> None:
    """Every page of the file, and of the files in it, as workers read them."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            document = timed(found, lambda: inspect(path, LIMITS))
        except OcrError as error:
            found.errors.append(error)
            return
        if isinstance(document, Archive):
            targets = {n: Path(folder) / str(n) for n, _ in enumerate(document.members, 1)}
            timed(found, lambda: unpack(path, targets, LIMITS))
            for target in targets.values():
                read_all(target, found)
        else:
            read_pages(path, document, found)


def read_pages(path: Path, document: Document, found: Found) -> None:
    engine = ocr.probe()
    for index in range(min(document.pages, LONG)):
        with tempfile.TemporaryDirectory() as private:
            folder = Path(private)
            try:
                page = timed(found, lambda: load_page(path, document.kind, index, folder, LIMITS))  # noqa: B023
                found.texts.append(ocr.recognise(page, ocr.Options(), engine=engine, timeout=60).text)
            except OcrError as error:
                found.errors.append(error)


def timed(found: Found, what: Callable[[], T]) -> T:
    started = time.monotonic()
    try:
        return what()
    finally:
        found.seconds = max(found.seconds, time.monotonic() - started)


@pytest.fixture(scope="module")
def singly() -> dict[str, Found]:
    """Each file on its own, two at a time."""
    found = {expected.file: Found() for expected in table()}

    def read(name: str) -> None:
        read_all(HOSTILE / name, found[name])

    # The slowest first, so that they don't wait for one another at the end.
    names = sorted(found, key=lambda name: -(HOSTILE / name).stat().st_size)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, names))
    print_table(found)
    return found


def print_table(found: dict[str, Found]) -> None:
    print()  # noqa: T201
    for expected in table():
        one = found[expected.file]
        said = " ".join(" ".join(one.texts).split())[:40] or "; ".join(map(str, one.errors))[:100]
        right = "ok " if not complaint(expected, one) else "BAD"
        print(f"{right} {expected.file:32} {expected.outcome:6} {one.outcome:6} {one.seconds:5.1f} s  {said}")  # noqa: T201


def complaint(expected: Expected, found: Found) -> str:
    """What is not as the table has it; empty if all is."""
    if any(error.code == "internal_error" for error in found.errors):
        return "an internal error"
    if expected.outcome not in ("either", found.outcome):
        return f"{found.outcome} instead of {expected.outcome}"
    text = " ".join(" ".join(found.texts).split())
    if expected.text == "(no text)":
        return f"text that is not there: {text}" if text else ""
    if expected.text != "-" and found.texts and expected.text.lower() not in text.lower():
        return f"{expected.text} is not in {text[:200]}"
    return "" if found.texts or found.errors else "nothing came of it"


@pytest.mark.parametrize("expected", table(), ids=lambda expected: expected.file)
def test_a_hostile_file_alone(expected: Expected, singly: dict[str, Found]):
    found = singly[expected.file]
    assert not complaint(expected, found)
    assert found.seconds < SECONDS
    for error in found.errors:
        assert len(str(error)) > 40  # a sentence that says what it is and what to do


def test_no_hostile_file_takes_too_much_memory(singly: dict[str, Found]):
    """Of all processes that have ended by now: the pool's helpers and what they had in hand."""
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MEMORY


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("password_user.pdf", "password"),
        ("really_a_word_file.pdf", "Microsoft Word"),
        ("zero_bytes.pdf", "empty"),
        ("reallybig.bmp", "3000000 × 2000000 pixels"),
        ("decompression_bomb.gif", "pixels"),
    ],
)
def test_a_refusal_names_what_it_is(singly: dict[str, Found], file: str, message: str):
    assert message in str(singly[file].errors[0])


@pytest.mark.django_db(transaction=True)
def test_all_hostile_files_together_with_good_pages(worker, make_batch, tmp_path: Path):
    """One batch, one worker, which goes on; what is good is read."""
    names = [expected.file for expected in table()]
    good = write_scans(tmp_path / "scans", 3)
    files = [good[0], *(HOSTILE / name for name in names[:15]), good[1]]
    files += [*(HOSTILE / name for name in names[15:]), good[2]]
    batch = make_batch(files=files)
    wait_for(lambda: ended(batch), 120)
    check_invariants(batch)
    assert batch.status == "completed"
    pool_died = Page.objects.filter(attempt__gt=1).count()
    assert not pool_died
    for number, path in enumerate(good, 1):
        assert lines_of(number)[0] in batch.pages.get(source__name=path.name).text
    errors = [
        *batch.files.values_list("error_code", flat=True),
        *batch.pages.values_list("error_code", flat=True),
    ]
    assert not {"internal_error", "worker_lost"} & set(errors)
    for expected in table():
        pages = batch.pages.filter(source__name__startswith=expected.file, status="succeeded")
        if expected.outcome == "reject":
            assert not pages, expected.file
        elif expected.outcome == "ocr":
            assert pages, expected.file
