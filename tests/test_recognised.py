"""Recognised before, not again: the same page is taken from then, and only that, and only for its owner."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from PIL import Image

from batches import ocr, services, tasks
from batches.models import Batch, Page, Recognition
from batches.models.recognition import USED_EVERY
from batches.ocr import PdfText, Segmentation
from batches.tasks import reading
from tests.conftest import check_invariants, ended
from tests.pdfs import write_text_pdf
from tests.scans import DPI, draw, lines_of

pytestmark = pytest.mark.django_db(transaction=True)

SAID = "Recognised before: the text was taken from then."
Read = Callable[..., Page]


def line(page: int) -> Image.Image:
    """A card with one line on it: quick to read."""
    return draw(lines_of(page)[:1], size=(700, 160))


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card.png"
    line(1).save(path, dpi=(DPI, DPI))
    return path


@pytest.fixture
def runs(tmp_path: Path, shim, monkeypatch) -> Callable[[], int]:
    """How often Tesseract has been run."""
    log = tmp_path / "runs"
    log.touch()
    folder = shim(f'echo run >> {log}; exec $REAL "$@"')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return lambda: log.read_text().count("run")


@pytest.fixture
def read(make_batch, card) -> Read:
    """Hands over one file and reads it; the page."""

    def read_file(path: Path = card, **options: Any) -> Page:
        return work(make_batch(files=[path], **options))

    return read_file


def work(batch: Batch) -> Page:
    while not ended(batch):
        tasks.work()
    return batch.pages.select_related("source", "batch").get()


def test_the_same_page_again_is_done_at_once_and_says_so(read: Read, runs):
    first, second = read(), read()
    assert runs() == 1
    assert (first.note, first.recognised_before) == ("", False)
    assert (second.note, second.recognised_before) == (SAID, True)
    for name in ("status", "text", "confidence", "width", "height", "dpi", "rotation", "engine"):
        assert getattr(second, name) == getattr(first, name)
    assert second.words_path(1).read_bytes() == first.words_path(1).read_bytes()
    assert second.image_path.read_bytes() == first.image_path.read_bytes()
    assert second.seconds is not None
    assert second.seconds < 0.5
    check_invariants(second.batch)


def test_the_feed_is_told(read: Read):
    told = [read().batch.events.get(type="page.succeeded").payload["page"] for _ in range(2)]
    assert [page["recognised_before"] for page in told] == [False, True]


def test_the_live_page_says_so(read: Read, client, user):
    client.force_login(user)
    pages = [client.get(read().batch.get_absolute_url()).content.decode() for _ in range(2)]
    assert ["% sure, recognised before<" in page for page in pages] == [False, True]


def test_it_is_the_page_that_counts_not_the_file(read: Read, runs, card, tmp_path: Path):
    image = Image.open(card)
    image.save(tmp_path / "card.tif", dpi=(DPI, DPI), compression="tiff_lzw")
    image.save(tmp_path / "card.bmp", dpi=(DPI, DPI))
    pages = [read(path) for path in (card, tmp_path / "card.tif", tmp_path / "card.bmp")]
    assert runs() == 1
    assert len({page.text for page in pages}) == 1


def test_another_page_is_read(read: Read, runs, card, tmp_path: Path):
    read()
    image = Image.open(card)
    image.save(tmp_path / "finer.png", dpi=(300, 300))
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "dot.png", dpi=(DPI, DPI))
    for name in ("finer.png", "dot.png"):
        assert not read(tmp_path / name).recognised_before
    assert runs() == 3


@pytest.mark.parametrize(
    "options",
    [{"languages": ("eng", "deu")}, {"segmentation": Segmentation.BLOCK}, {"rotation": 180}],
    ids=["languages", "segmentation", "rotation"],
)
def test_with_other_options_it_is_read_anew(read: Read, options):
    read()
    assert not read(**options).recognised_before


def test_what_is_done_with_a_pdfs_own_text_is_no_other_way_of_reading(read: Read):
    read()
    assert read(pdf_text=PdfText.READ).recognised_before


def test_nobody_gets_what_another_has(read: Read, runs, other):
    read()
    assert not read(owner=other).recognised_before
    assert runs() == 2
    assert read(owner=other).recognised_before


def test_staff_who_retry_a_batch_get_what_its_owner_has(read: Read, make_batch, card, staff, other):
    """It is read for the owner, whoever asks for that: theirs count, and nobody else's."""
    read(owner=staff)
    batch = make_batch(files=[card], owner=other)
    services.cancel_batch(batch)
    services.retry_batch(batch)  # as staff may
    assert not work(batch).recognised_before
    batch = make_batch(files=[card], owner=other)
    services.cancel_batch(batch)
    services.retry_batch(batch)
    assert work(batch).recognised_before


def test_a_retry_takes_it_too(read: Read, runs):
    """A page that was read, but whose saving failed."""
    page = read()
    Page.objects.filter(pk=page.pk).update(status=Page.Status.FAILED)
    Batch.objects.filter(pk=page.batch_id).update(succeeded=0, failed=1)
    services.retry_batch(page.batch)
    page = work(page.batch)
    assert (runs(), page.attempt, page.note) == (1, 2, SAID)


def test_what_is_worth_knowing_of_the_file_stays_beside_it(read: Read, tmp_path: Path):
    frames = [line(1), line(2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    hint = "First of 2 frames; the others are not read."
    assert [read(tmp_path / "a.gif").note for _ in range(2)] == [hint, f"{hint} {SAID}"]


def test_failures_are_not_kept(read: Read, shim, monkeypatch):
    folder = shim("kill -SEGV $$")
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        assert read().status == Page.Status.FAILED
    page = read()
    assert (page.status, page.recognised_before) == (Page.Status.SUCCEEDED, False)


def test_a_pdfs_own_text_is_not_kept(read: Read, tmp_path: Path):
    path = write_text_pdf(
        tmp_path / "letter.pdf", ["A letter to the council of the parish, and its answer."] * 3
    )
    for _ in range(2):
        page = read(path)
        assert page.text.startswith("A letter")
        assert not page.recognised_before
    assert not Recognition.objects.exists()


def test_with_another_model_it_is_read_anew(read: Read, runs, tmp_path: Path, monkeypatch):
    tessdata = tmp_path / "tessdata"
    system = ocr.probe().tessdata
    assert system
    shutil.copytree(system, tessdata)
    read()
    monkeypatch.setenv("TESSDATA_PREFIX", str(tessdata))
    monkeypatch.setattr(reading, "engine", ocr.probe)
    assert read().recognised_before, "the same models elsewhere"
    with (tessdata / "eng.traineddata").open("ab") as model:
        model.write(b"\0")
    assert not read().recognised_before
    assert runs() == 2


def test_with_another_engine_it_is_read_anew(read: Read, monkeypatch):
    read()
    other = replace(ocr.probe(), name="Tesseract 6.0")
    monkeypatch.setattr(reading, "engine", lambda: other)
    assert not read().recognised_before


def test_a_damaged_file_is_not_believed_and_is_replaced(read: Read):
    """Gone, cut short, with another letter, empty."""
    text = read().text
    path = Recognition.objects.get().path
    whole = path.read_bytes()
    for spoilt in (None, whole[:-30], whole.replace(b"register", b"registar"), b""):
        path.unlink() if spoilt is None else path.write_bytes(spoilt)
        page = read()
        assert (page.text, page.recognised_before) == (text, False)
        assert path.read_bytes() == whole
    assert read().recognised_before


def test_a_store_that_cannot_be_written_fails_no_page(read: Read, settings):
    (settings.DATA_DIR / "recognised").write_text("in the way")
    try:
        assert read().status == Page.Status.SUCCEEDED
        assert not Recognition.objects.exists()
    finally:
        (settings.DATA_DIR / "recognised").unlink()


def test_zero_bytes_keep_nothing(read: Read, settings):
    settings.RECOGNISED_BYTES = 0
    assert [read().recognised_before for _ in range(2)] == [False, False]
    assert not Recognition.objects.exists()


def test_use_is_written_down_once_a_day(read: Read):
    read()
    Recognition.objects.update(used=F("used") - 2 * USED_EVERY)
    old = Recognition.objects.get().used
    read()
    used = Recognition.objects.get().used
    assert used > old
    read()
    assert Recognition.objects.get().used == used
