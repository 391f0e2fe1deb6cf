"""What two do at the same moment, many times over: one is first, and everybody is told the same."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models.functions import Now

from batches import services, tasks
from batches.errors import EngineTimeout
from batches.models import Batch, Page, SourceFile
from batches.models.batch import lease
from batches.ocr import Options, PageResult
from batches.services import LocalFile
from batches.tasks.outcomes import settle
from tests.conftest import check_rows
from tests.scans import write_scans

pytestmark = pytest.mark.django_db(transaction=True)

TIMES = 200
RESULT = PageResult("text", (), 90.0, 10, 10, None, "Tesseract 5", 1.0)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Each in a thread with a connection of its own, all let go at the same moment; their answers."""
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        try:
            gate.wait()
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(run, act) for act in acts]]


@transaction.atomic
def in_hand(user: User, pages: int) -> tuple[Batch, list[Page]]:
    """A running batch with all its pages claimed, as a worker would have left it."""
    batch = Batch.objects.create(
        name="Box", owner=user, options=Options().as_json(), status="running", total=pages
    )
    source = SourceFile.objects.create(
        batch=batch, position=1, name="box.tif", sha256="0" * 64, size=1, status="accepted"
    )
    held = {"batch": batch, "source": source, "status": "running", "attempt": 1, "lease_expires_at": lease()}
    Page.objects.bulk_create(Page(number=n, index=n, **held) for n in range(1, pages + 1))
    return batch, list(batch.pages.select_related("batch", "source"))


def later(seconds: float, act: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        time.sleep(seconds)
        return act()

    return run


def test_two_workers_end_the_last_two_pages(user):
    for _ in range(TIMES):
        batch, (first, second) = in_hand(user, 2)
        assert at_once(lambda: settle(first, RESULT), lambda: settle(second, RESULT)) == [True, True]  # noqa: B023
        check_rows(batch)
        assert (batch.status, batch.succeeded) == ("completed", 2)


def test_cancel_in_the_last_moment(user):
    """Within the last 50 ms: the batch is completed or cancelled, and who cancels is told which."""
    outcomes = set()
    for _ in range(TIMES):
        batch, (page,) = in_hand(user, 1)
        ends, cancels = (random.uniform(0, 0.05) for _ in range(2))
        _, cancelled = at_once(
            later(ends, lambda: settle(page, RESULT)),  # noqa: B023
            later(cancels, lambda: services.cancel_batch(batch)),  # noqa: B023
        )
        check_rows(batch)
        assert batch.status == ("cancelled" if cancelled else "completed")
        assert batch.succeeded == 1
        outcomes.add(batch.status)
    assert outcomes == {"cancelled", "completed"}


def test_a_sweep_takes_a_page_back_while_its_batch_is_cancelled(user):
    """Either way round, no page is left waiting in a batch that nobody reads any more."""
    for _ in range(40):
        batch, _pages = in_hand(user, 2)
        Page.objects.filter(batch=batch).update(lease_expires_at=Now() - timedelta(days=1))
        at_once(tasks.mend, lambda: services.cancel_batch(batch))  # noqa: B023
        tasks.mend()
        check_rows(batch)
        assert (batch.status, batch.cancelled) == ("cancelled", 2)


def test_two_retries_at_once(user):
    for _ in range(20):
        batch, pages = in_hand(user, 3)
        for page in pages:
            settle(page, EngineTimeout())
        told = at_once(*[lambda: services.retry_batch(batch)] * 2)  # noqa: B023
        assert sorted(told) == [0, 3]
        batch.refresh_from_db()
        assert (batch.status, batch.failed) == ("running", 0)
        services.cancel_batch(batch)
        check_rows(batch)


def test_two_sweeps_at_once(user):
    for _ in range(20):
        batch, _pages = in_hand(user, 4)
        Page.objects.filter(batch=batch).update(lease_expires_at=Now() - timedelta(days=1), losses=2)
        first, second = at_once(tasks.mend, tasks.mend)
        assert sum("after 3 lost workers" in line for line in first + second) == 4
        check_rows(batch)


def test_a_form_that_is_sent_twice_at_once(user, tmp_path: Path, settings):
    uploads = [LocalFile(path, path.name) for path in write_scans(tmp_path, 1)]
    for _ in range(10):
        key = uuid4()
        send = lambda: services.create_batch(user, "x", uploads, Options(), key)  # noqa: B023, E731
        first, second = at_once(send, send)
        assert first == second
    assert Batch.objects.count() == 10
    assert len(list((settings.DATA_DIR / "batches").iterdir())) == 10
