"""What the sweep mends, called by hand; what it leaves alone."""

import os
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.core.management import call_command
from django.db.models import F
from django.db.models.functions import Now

from batches import documents, services, tasks
from batches.models import Batch, BatchEvent, Page
from batches.tasks import mending
from tests.conftest import check_invariants, prepare_next

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def in_hand(make_batch):
    """A batch of one page that a worker has claimed and never ended."""
    batch = make_batch(1)
    prepare_next()
    return batch


def abandon() -> Page:
    page = Page.objects.claim()
    assert page
    Page.objects.filter(pk=page.pk).update(lease_expires_at=F("lease_expires_at") - timedelta(days=1))
    return page


def test_an_abandoned_page_is_read_again_and_its_late_result_discarded(in_hand):
    late = abandon()
    tasks.sweep()
    tasks.work()
    check_invariants(in_hand)
    tasks.read(late)
    check_invariants(in_hand)
    page = in_hand.pages.get()
    assert (page.attempt, page.status) == (2, "succeeded")
    assert [path.name for path in in_hand.folder.glob("pages/*.json")] == ["000001-2.json"]


def test_a_page_that_is_held_is_left_alone(in_hand):
    Page.objects.claim()
    tasks.sweep()
    assert in_hand.pages.get().status == "running"


def test_three_lost_workers_fail_the_page(in_hand):
    for _ in range(3):
        abandon()
        tasks.sweep()
    check_invariants(in_hand)
    assert in_hand.pages.get().error_code == "worker_lost"


def test_an_abandoned_page_of_a_cancelled_batch_is_not_read_again(in_hand):
    abandon()
    services.cancel_batch(in_hand)
    tasks.sweep()
    check_invariants(in_hand)
    assert (in_hand.status, in_hand.cancelled) == ("cancelled", 1)


def test_a_batch_that_ended_unnoticed_is_ended(in_hand):
    tasks.work()
    BatchEvent.objects.filter(type="batch.completed").delete()
    Batch.objects.update(status="running", last_seq=F("last_seq") - 1)
    tasks.sweep()
    tasks.sweep()
    check_invariants(in_hand)
    assert in_hand.status == "completed"


def test_a_file_that_takes_three_workers_with_it_is_refused_alone(make_batch, monkeypatch):
    """The fourth of five files ends the process that looks at it, each time: three processes, no more."""
    batch = make_batch(5)
    killer = batch.files.get(position=4).path
    deaths = []
    inspect_all = documents.inspect_all

    def deadly(paths: list[Path], *args: Any, **kwargs: Any) -> Any:
        if killer in paths:
            deaths.append(killer)
            raise SystemExit
        return inspect_all(paths, *args, **kwargs)

    monkeypatch.setattr(documents, "inspect_all", deadly)
    for _ in range(12):
        held = Batch.objects.filter(lease_expires_at__isnull=False)  # by a worker that is gone
        held.update(lease_expires_at=Now() - timedelta(days=1))
        with suppress(SystemExit):
            tasks.work()
    check_invariants(batch)
    assert [file.error_code for file in batch.files.all()] == ["", "", "", "worker_lost", ""]
    assert (batch.succeeded, len(deaths)) == (4, 3)


def test_folders_without_a_batch_go_once_they_are_old(make_batch, settings):
    batch = make_batch(1)
    lost = settings.DATA_DIR / "batches" / str(uuid4())
    somebodys = settings.DATA_DIR / "batches" / "lost+found"
    for path in (lost, somebodys):
        path.mkdir()
    for path in (lost, somebodys, batch.folder):
        os.utime(path, (0, 0))
    tasks.sweep()
    assert not lost.exists()
    assert somebodys.exists()
    assert batch.folder.exists()


def test_old_temporary_files_go_and_new_ones_stay(db, settings):
    for name in ("old", "new"):
        (settings.TMP_DIR / name).mkdir()
    yesterday = time.time() - mending.STALE_SECONDS - 60
    os.utime(settings.TMP_DIR / "old", (yesterday, yesterday))
    tasks.sweep()
    assert [path.name for path in settings.TMP_DIR.iterdir()] == ["new"]


def test_recover_mends_at_once_and_prints_what_it_did(in_hand, capsys):
    abandon()
    call_command("recover")
    assert "was abandoned: queued again after attempt 1" in capsys.readouterr().out
    tasks.work()
    check_invariants(in_hand)
    call_command("recover")
    assert capsys.readouterr().out == "There was nothing to mend.\n"


def test_the_folder_of_a_killed_attempt_goes_and_that_of_a_page_in_hand_stays(in_hand, settings):
    page = Page.objects.claim()
    assert page
    for attempt in (page.attempt, page.attempt + 1):
        folder = settings.TMP_DIR / f"page-{page.pk}-{attempt}-x"
        folder.mkdir()
        hour_ago = time.time() - 3600
        os.utime(folder, (hour_ago, hour_ago))
    tasks.sweep()
    assert [path.name for path in settings.TMP_DIR.iterdir()] == [f"page-{page.pk}-1-x"]


def test_many_sweeps_that_waited_are_one(in_hand, settings):
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for _ in range(50):
            tasks.sweep.delay()
        assert client.llen("sweep") == 50
        tasks.sweep()
        assert client.llen("sweep") == 0
