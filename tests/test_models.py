"""Claims and transitions: whoever comes second changes nothing."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from batches.documents import Document, Kind
from batches.errors import CorruptFile
from batches.models import Batch, Page, SourceFile
from batches.ocr import Options, PageResult

pytestmark = pytest.mark.django_db

RESULT = PageResult("text", (), 90.0, 10, 10, None, "Tesseract 5", 1.0)


@pytest.fixture
def running(user):
    """A running batch with so many queued pages."""

    def make(pages: int, owner=user) -> Batch:
        batch = Batch.objects.create(name="Box", owner=owner, options=Options().as_json(), status="preparing")
        source = SourceFile.objects.create(batch=batch, position=1, name="box.tif", sha256="0" * 64, size=1)
        Page.objects.add(source, Document(Kind.TIFF, pages))
        batch.run()
        return batch

    return make


def claim() -> Page:
    page = Page.objects.claim()
    assert page
    return page


def test_pages_are_claimed_in_order_and_once(running):
    running(3)
    assert [claim().number for _ in range(3)] == [1, 2, 3]
    assert Page.objects.claim() is None


def test_batches_take_turns(running):
    large, small = running(10), running(2)
    turns = [claim().batch for _ in range(6)]
    assert turns == [large, small, large, small, large, large]


def test_one_slot_serves_batches_in_turn_too(running):
    large, small = running(5), running(2)
    turns = []
    for _ in range(5):
        page = claim()
        page.succeed(RESULT)
        turns.append(page.batch)
    assert turns == [large, small, large, small, large]


def test_a_claim_is_an_attempt_with_a_lease_by_the_databases_clock(running, settings):
    running(1)
    page = claim()
    assert (page.status, page.attempt) == ("running", 1)
    assert page.lease_expires_at
    left = page.lease_expires_at - timezone.now()
    assert abs(left - timedelta(seconds=settings.LEASE_SECONDS)) < timedelta(seconds=5)


def test_a_claim_costs_a_constant_number_of_queries(running, django_assert_num_queries):
    running(50)
    with django_assert_num_queries(6):  # savepoint ×2, turn, next page, compare-and-set, the page read back
        claim()


def test_only_running_batches_are_claimed(running):
    batch = running(1)
    batch.cancel()
    assert Page.objects.claim() is None


def test_only_the_attempt_that_holds_the_page_ends_it(running):
    running(1)
    first = claim()
    assert first.lose()
    second = claim()
    assert (second.attempt, second.losses) == (2, 1)
    assert not first.succeed(RESULT)
    assert not first.fail(CorruptFile())
    assert second.succeed(RESULT)
    assert not second.succeed(RESULT)
    assert Page.objects.get().status == "succeeded"


def test_a_page_is_abandoned_when_its_lease_has_run_out(running):
    running(1)
    claim()
    assert not Page.objects.abandoned().exists()
    Page.objects.update(lease_expires_at=F("lease_expires_at") - timedelta(days=1))
    assert Page.objects.abandoned().exists()


@pytest.mark.parametrize(
    ("counts", "status", "code"),
    [
        ({"succeeded": 2}, "completed", ""),
        ({"succeeded": 1, "failed": 1}, "completed", ""),
        ({"failed": 2}, "failed", "nothing_read"),
        ({"succeeded": 1}, "running", ""),
    ],
)
def test_a_batch_ends_with_its_last_page(running, counts, status, code):
    batch = running(2)
    for name, n in counts.items():
        batch.count(name, n)
    assert batch.end_if_done() == (status != "running")
    assert not batch.end_if_done()
    batch.refresh_from_db()
    assert (batch.status, batch.error_code) == (status, code)


def test_a_cancelled_batch_waits_for_the_pages_in_hand(running):
    batch = running(1)
    assert batch.cancel()
    assert batch.status == "cancelling"
    assert not batch.end_if_done()
    batch.count("succeeded")
    assert batch.end_if_done()
    assert batch.status == "cancelled"


def test_a_batch_that_was_not_begun_is_cancelled_at_once(user):
    batch = Batch.objects.create(name="Box", owner=user, options={})
    assert batch.cancel()
    assert batch.status == "cancelled"
    assert not batch.cancel()
    assert not batch.prepare()


def test_preparation_is_claimed_once_and_again_after_a_loss(user):
    Batch.objects.create(name="Box", owner=user, options={})
    first = Batch.objects.claim_preparation()
    assert first
    assert first.losses == 0
    assert Batch.objects.claim_preparation() is None
    Batch.objects.update(lease_expires_at=F("lease_expires_at") - timedelta(days=1))
    second = Batch.objects.claim_preparation()
    assert second
    assert second.losses == 1


def test_progress_is_told_in_full(running):
    batch = running(8)
    assert (batch.current, batch.percentage, batch.pages_per_minute, batch.eta_seconds) == (
        0,
        0.0,
        None,
        None,
    )
    batch.count("succeeded", 2)
    batch.count("failed", 1)
    batch.run_started = timezone.now() - timedelta(seconds=30)
    assert (batch.current, batch.percentage, batch.pages_per_minute) == (3, 37.5, 6.0)
    assert batch.eta_seconds == 50


def test_progress_of_nothing_is_zero():
    assert Batch(total=0).percentage == 0.0


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        (lambda: Batch.objects.update(succeeded=2), "batch_counts_within_total"),
        (lambda: Page.objects.update(status="running"), "page_running_has_lease"),
        (lambda: Page.objects.create(batch=Batch.objects.get(), source=SourceFile.objects.get(), number=1, index=9), "number"),
    ],
)  # fmt: skip
def test_the_database_refuses_what_cannot_be(running, change, constraint):
    running(1)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        change()


def test_sqlite_lets_writers_wait_their_turn():
    if connection.vendor != "sqlite":
        pytest.skip("SQLite's own settings")
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.settings_dict["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
