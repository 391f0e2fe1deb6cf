"""Claims and transitions: whoever comes second changes nothing."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from batches.documents import Document, Kind
from batches.errors import CorruptFile
from batches.models import Batch, Page, SourceFile
from batches.models.pace import Pace
from batches.ocr import Options, PageResult

pytestmark = pytest.mark.django_db

RESULT = PageResult("text", (), 90.0, 10, 10, None, "Tesseract 5", 1.0)


@pytest.fixture
def running(user):
    """A running batch with so many queued pages."""

    def make(pages: int, owner=user) -> Batch:
        batch = Batch.objects.create(name="Box", owner=owner, options=Options().as_json(), status="preparing")
        source = SourceFile.objects.create(batch=batch, position=1, name="box.tif", sha256="0" * 64, size=1)
        Page.objects.add(batch, [(source, Document(Kind.TIFF, pages))])
        locked(batch).run()
        return locked(batch)

    return make


def locked(batch: Batch) -> Batch:
    return Batch.objects.locked(batch.pk)


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
    batch = locked(Batch.objects.create(name="Box", owner=user, options={}))
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
    nothing = (0, 0.0, None, None)
    assert (batch.current, batch.percentage, batch.pages_per_minute, batch.seconds_left) == nothing
    for status in ("succeeded", "succeeded", "failed"):
        Batch.objects.update(page_ended=F("page_ended") - timedelta(seconds=10))
        locked(batch).page_has_ended(status)
    batch.refresh_from_db()
    assert (batch.current, batch.percentage) == (3, 37.5)
    assert batch.pages_per_minute == pytest.approx(6, abs=0.2)
    assert batch.seconds_left is None  # three pages are not enough to tell


def test_the_time_left_is_told_while_it_runs_and_measured_anew_after_a_pause(running):
    batch = running(20)
    Batch.objects.update(pace_pages=9, pace_mean=10.0, pace_variance=4.0, succeeded=10)
    low, high = locked(batch).seconds_left or (0, 0)
    assert low < 100 < high
    assert locked(batch).pause()
    assert locked(batch).seconds_left is None
    assert locked(batch).resume()
    assert locked(batch).seconds_left is None
    assert locked(batch).pace == Pace()


@pytest.mark.parametrize("times", [[10] * 40, [0, 20] * 20, [5, 15, 10, 10] * 10])
def test_the_pace_is_that_of_the_pages(times):
    pace = Pace()
    for seconds in times:
        pace = pace.after(seconds)
    assert pace.mean == pytest.approx(10, abs=0.5)
    low, high = pace.seconds_left(100) or (0, 0)
    assert 400 < low < 1000 < high < 1600


def test_the_pace_follows_pages_that_are_slower_now():
    pace = Pace()
    for seconds in [1.0] * 500 + [10.0] * 120:
        pace = pace.after(seconds)
    assert pace.mean == pytest.approx(10, abs=0.5)


def test_the_range_narrows_as_more_is_measured():
    few = Pace(5, 10.0, 25.0).seconds_left(50)
    many = Pace(30, 10.0, 25.0).seconds_left(50)
    assert few
    assert many
    assert few[0] < many[0] < many[1] < few[1]


def test_a_clock_that_is_set_back_does_no_harm():
    assert Pace(5, 10.0, 0.0).after(-3600).mean == pytest.approx(8.3, abs=0.1)


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
