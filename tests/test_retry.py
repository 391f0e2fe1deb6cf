"""Pause, resume and retry, with the worker's own functions called by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from django.db.models import Q
from PIL import Image

from batches import services, tasks
from batches.errors import LanguageMissing
from batches.models import Batch, Page, SourceFile
from batches.ocr import Options, Preparation, Segmentation
from tests.conftest import check_invariants, check_rows, prepare_next, types
from tests.scans import write_scans

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def failed(make_batch) -> Batch:
    """A batch of four pages of which the last three failed, their files being away for a while."""
    batch = make_batch(4)
    prepare_next()
    hide_files(batch, 2, 3, 4)
    for _ in range(4):
        tasks.work()
    batch.refresh_from_db()
    assert (batch.status, batch.failed) == ("completed", 3)
    return batch  # type: ignore[no-any-return]


def hide_files(batch: Batch, *positions: int) -> None:
    for file in batch.files.filter(position__in=positions):
        file.path.rename(file.path.with_suffix(".away"))


def bring_files_back(batch: Batch) -> None:
    for path in (batch.folder / "sources").glob("*.away"):
        path.rename(path.with_suffix(""))


def attempts(batch: Batch) -> list[int]:
    return [page.attempt for page in batch.pages.all()]


# ------------------------------------------------------------------ pause and resume


def test_pause_lets_pages_in_hand_end_and_starts_none(make_batch):
    batch = make_batch(3)
    prepare_next()
    page = Page.objects.claim()
    assert page
    assert services.pause_batch(batch)
    assert not services.pause_batch(batch)
    assert Page.objects.claim() is None
    assert not Page.objects.waiting().exists()
    tasks.read(page)
    batch.refresh_from_db()
    assert (batch.status, batch.succeeded) == ("paused", 1)
    assert services.resume_batch(batch)
    assert not services.resume_batch(batch)
    tasks.work()
    tasks.work()
    check_invariants(batch)
    assert attempts(batch) == [1, 1, 1]
    assert [type_ for type_ in types(batch) if type_.startswith("batch.")][-3:] == [
        "batch.paused", "batch.resumed", "batch.completed",
    ]  # fmt: skip


def test_a_batch_whose_last_page_ends_while_it_is_paused_has_ended(make_batch):
    batch = make_batch(1)
    prepare_next()
    page = Page.objects.claim()
    assert page
    services.pause_batch(batch)
    tasks.read(page)
    check_invariants(batch)
    assert batch.status == "completed"


def test_a_paused_batch_can_be_cancelled(make_batch):
    batch = make_batch(3)
    tasks.work()
    services.pause_batch(batch)
    assert services.cancel_batch(batch)
    check_invariants(batch)
    assert (batch.status, batch.succeeded, batch.cancelled) == ("cancelled", 1, 2)
    last = batch.events.last()
    assert last
    assert last.payload["message"] == "1 kept, 2 not read"
    assert not services.resume_batch(batch)


@pytest.mark.parametrize("command", [services.pause_batch, services.resume_batch])
def test_what_has_not_begun_or_has_ended_is_neither_paused_nor_resumed(make_batch, command):
    batch = make_batch(1)
    assert not command(batch)
    tasks.work()
    assert not command(batch)
    check_invariants(batch)


# ------------------------------------------------------------------ which pages


def test_one_page_is_read_again_and_no_other(failed):
    bring_files_back(failed)
    assert services.retry_batch(failed, Q(number=3)) == 1
    tasks.work()
    tasks.work()
    check_invariants(failed)
    assert attempts(failed) == [1, 1, 2, 1]
    assert (failed.succeeded, failed.failed) == (2, 2)


def test_selected_pages_are_read_again_but_not_those_that_were_read(failed):
    bring_files_back(failed)
    assert services.retry_batch(failed, Q(number__in=[1, 2, 4])) == 2
    for _ in range(2):
        tasks.work()
    check_invariants(failed)
    assert attempts(failed) == [1, 2, 1, 2]


def test_all_of_one_reason_are_read_again(failed):
    Page.objects.filter(number=4).update(error_code="timeout")
    assert services.retry_batch(failed, Q(error_code="source_missing")) == 2
    assert list(failed.pages.filter(status="queued").values_list("number", flat=True)) == [2, 3]


def test_pages_that_failed_are_retried_while_the_others_are_read(make_batch):
    batch = make_batch(4)
    prepare_next()
    hide_files(batch, 1)
    tasks.work()
    bring_files_back(batch)
    assert services.retry_batch(batch) == 1
    assert services.retry_batch(batch) == 0  # it is queued again already
    batch.refresh_from_db()
    assert (batch.status, batch.failed, batch.current) == ("running", 0, 0)
    for _ in range(4):
        tasks.work()
    check_invariants(batch)
    assert attempts(batch) == [2, 1, 1, 1]
    assert batch.succeeded == 4


def test_a_batch_that_is_being_cancelled_is_not_retried(make_batch):
    batch = make_batch(2)
    prepare_next()
    page = Page.objects.claim()
    assert page
    services.cancel_batch(batch)
    assert services.retry_batch(batch) == 0
    tasks.read(page)
    check_invariants(batch)


def test_the_late_result_of_a_stale_attempt_is_discarded(make_batch):
    """Its worker was thought lost three times; the page failed, was retried, and is in new hands."""
    batch = make_batch(1)
    prepare_next()
    stale = Page.objects.claim()
    assert stale
    Page.objects.update(losses=2, lease_expires_at="2020-01-01T00:00Z")
    tasks.mend()
    assert services.retry_batch(batch) == 1
    tasks.read(stale)  # while it is queued again
    current = Page.objects.claim()
    assert current
    tasks.read(stale)  # while another has it
    assert batch.pages.get().status == "running"
    tasks.read(current)
    check_invariants(batch)
    assert (batch.pages.get().attempt, batch.succeeded) == (2, 1)


# ------------------------------------------------------------------ otherwise than before


def test_a_page_that_lies_on_its_side_is_turned(make_batch, tmp_path: Path):
    """A card on its side, told to be one block: nothing of it can be read until it is turned."""
    (card,) = write_scans(tmp_path, 1)
    with Image.open(card) as image:
        size = image.size
        image.rotate(90, expand=True).save(card)
    as_it_is = Options(segmentation=Segmentation.BLOCK, preparation=Preparation.OFF)
    batch = make_batch(files=[card], **vars(as_it_is))
    tasks.work()
    Page.objects.update(status="failed")
    Batch.objects.update(succeeded=0, failed=1)
    turned = replace(as_it_is, rotation=90)
    assert services.retry_batch(batch, options=turned) == 1
    tasks.work()
    page = batch.pages.get()
    assert page.text.startswith("Page number 1 of the register")
    assert (page.rotation, page.width, page.height) == (90, *size)
    with Image.open(page.image_path) as seen:
        assert seen.size == size
    assert batch.options["rotation"] == 0


def test_a_retry_without_options_keeps_those_of_the_page(failed):
    services.retry_batch(failed, Q(number=2), options=Options(languages=("deu",)))
    for _ in range(2):
        tasks.work()
    services.retry_batch(failed)
    assert [page.reading_options().languages for page in failed.pages.all()] == [
        ("eng",), ("deu",), ("eng",), ("eng",),
    ]  # fmt: skip


def test_a_language_that_is_not_there_changes_nothing(failed):
    with pytest.raises(LanguageMissing, match="xyz"):
        services.retry_batch(failed, options=Options(languages=("xyz",)))
    check_rows(failed)
    assert attempts(failed) == [1] * 4


# ------------------------------------------------------------------ files, and what was cancelled


def test_retry_reads_only_what_failed(make_batch, tmp_path):
    good, bad = write_scans(tmp_path, 2)
    whole = bad.read_bytes()
    bad.write_bytes(whole[:4000])
    batch = make_batch(files=[good, bad])
    for _ in range(2):
        tasks.work()
    batch.files.get(name="card-2.png").path.write_bytes(whole)
    assert services.retry_batch(batch) == 1
    assert services.retry_batch(batch) == 0  # it is running: the second is told so
    tasks.work()
    tasks.work()
    check_invariants(batch)
    assert (batch.status, batch.succeeded) == ("completed", 2)
    assert [page.attempt for page in batch.pages.all()] == [1, 2]
    assert services.retry_batch(batch) == 0


def test_retry_reads_what_was_cancelled(make_batch):
    batch = make_batch(2)
    tasks.work()
    services.cancel_batch(batch)
    assert services.retry_batch(batch) == 1
    tasks.work()
    check_invariants(batch)
    assert (batch.status, batch.succeeded, batch.cancelled) == ("completed", 2, 0)


def test_a_file_that_is_refused_again_leaves_no_batch_running(make_batch):
    batch = make_batch(2)
    SourceFile.objects.filter(position=2).update(status="rejected", error_code="no_space")
    tasks.work()
    batch.files.get(position=2).path.unlink()
    assert services.retry_batch(batch) == 1
    tasks.work()
    check_rows(batch)
    assert (batch.status, batch.succeeded) == ("completed", 1)


def test_retry_prepares_again_what_could_not_be_prepared(make_batch):
    batch = make_batch(1)
    options = batch.options
    Batch.objects.update(options={})
    tasks.work()
    Batch.objects.update(options=options)
    assert services.retry_batch(batch) == 1
    tasks.work()
    check_invariants(batch)
    assert batch.status == "completed"


def test_retry_reads_what_was_refused_for_a_reason_that_has_passed(make_batch):
    batch = make_batch(2)
    SourceFile.objects.filter(position=2).update(status="rejected", error_code="no_space")
    tasks.work()
    check_invariants(batch)
    assert services.retry_batch(batch) == 1
    tasks.work()
    check_invariants(batch)
    assert (batch.status, batch.succeeded) == ("completed", 2)


def test_a_second_preparation_that_fails_leaves_no_page_waiting(make_batch):
    batch = make_batch(2)
    prepare_next()
    services.cancel_batch(batch)
    SourceFile.objects.filter(position=2).update(status="queued")
    services.retry_batch(batch)
    Batch.objects.update(options={})
    tasks.work()
    check_invariants(batch)
    assert (batch.status, batch.cancelled) == ("failed", 2)
