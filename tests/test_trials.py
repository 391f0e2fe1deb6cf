"""Pages read on trial: claimed, renewed, taken back and ended like any page, and never touching one."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from batches import services, tasks
from batches.models import Batch, Page, Trial
from batches.ocr import BUILT_IN, Options
from batches.tasks import leases
from tests.conftest import check_invariants, prepare_next, types, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

PRINTED, CARDS = (BUILT_IN[number].options(["eng"]) for number in (0, 2))
TWO = [("Printed pages", PRINTED), ("Index cards", CARDS)]


@pytest.fixture
def batch(make_batch) -> Batch:
    """Three pages, ready to be read; held."""
    batch = make_batch(3)
    Batch.objects.update(held=True)
    prepare_next()
    batch.refresh_from_db()
    return batch  # type: ignore[no-any-return]


@pytest.fixture
def trial(batch) -> Trial:
    """The first of two, neither in hand yet."""
    services.try_presets(batch, [2], TWO)
    return batch.trials.first()  # type: ignore[no-any-return]


def claimed() -> Trial:
    trial = Trial.objects.claim()
    assert trial
    return trial


def abandon() -> Trial:
    trial = claimed()
    Trial.objects.filter(pk=trial.pk).update(lease_expires_at=F("lease_expires_at") - timedelta(days=1))
    return trial


def statuses(batch: Batch) -> list[str]:
    return list(batch.trials.values_list("status", flat=True))


def test_a_batch_that_is_held_is_paused_when_it_could_be_read(batch):
    assert batch.status == "paused"
    assert types(batch)[-1] == "batch.paused"
    services.resume_batch(batch)
    batch.refresh_from_db()
    assert (batch.status, batch.held) == ("running", False)


def test_what_was_held_and_cancelled_is_read_at_once_when_it_is_retried(make_batch):
    batch = make_batch(1)
    Batch.objects.update(held=True)
    services.cancel_batch(batch)
    services.retry_batch(batch)
    prepare_next()
    batch.refresh_from_db()
    assert batch.status == "running"


def test_trials_are_read_and_the_page_stays_as_it_is(batch):
    before = Page.objects.values().get(number=2)
    assert services.try_presets(batch, [2], TWO) == 2
    for _ in range(3):
        tasks.work()
    assert statuses(batch) == ["succeeded", "succeeded"]
    for trial in batch.trials.all():
        assert "Page number 2 of the register" in trial.text
        assert trial.words > 30
        assert trial.confidence > 80
        assert trial.seconds > 0
    assert Page.objects.values().get(number=2) == before
    assert not (batch.folder / "pages").exists()
    first, second = batch.trials.all()
    assert (first.image_path.exists(), second.image_path.exists()) == (True, False)
    assert types(batch)[-1] == "batch.paused"


def test_a_trial_goes_before_the_pages_that_wait(trial, batch):
    services.resume_batch(batch)
    tasks.work()
    assert statuses(batch) == ["succeeded", "queued"]
    assert not batch.pages.exclude(status="queued").exists()


def test_trials_do_not_keep_pages_from_being_read(trial, batch, settings):
    settings.WORKER_SLOTS = 2
    services.resume_batch(batch)
    claimed()  # in the other slot
    tasks.work()
    assert statuses(batch) == ["running", "queued"]
    assert batch.pages.filter(status="succeeded").count() == 1


def test_what_cannot_be_read_is_told(trial, batch):
    batch.files.get(position=2).path.unlink()
    tasks.work()
    trial.refresh_from_db()
    assert (trial.status, trial.error_code) == ("failed", "source_missing")
    assert batch.pages.get(number=2).status == "queued"


def test_each_trial_is_claimed_once(batch):
    services.try_presets(batch, [1, 2, 3], TWO)
    gate = threading.Barrier(6)

    def claim(_: int) -> Trial | None:
        gate.wait()
        try:
            return Trial.objects.claim()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        found = [trial.pk for trial in pool.map(claim, range(6)) if trial]
    assert len(found) == len(set(found)) >= 1
    assert Trial.objects.filter(status="running", attempt=1).count() == len(found)


def test_a_running_trial_has_a_lease(trial):
    with pytest.raises(IntegrityError), transaction.atomic():
        Trial.objects.filter(pk=trial.pk).update(status="running")
    assert claimed().renew()


def test_an_abandoned_trial_is_read_again_and_its_late_result_discarded(trial, batch):
    late = abandon()
    tasks.sweep()
    tasks.work()
    trial.refresh_from_db()
    assert (trial.status, trial.attempt, trial.losses) == ("succeeded", 2, 1)
    Trial.objects.update(text="as it is")
    tasks.trying.try_out(late)
    assert set(batch.trials.values_list("text", flat=True)) == {"as it is"}


def test_three_lost_workers_fail_the_trial(trial):
    for _ in range(3):
        Trial.objects.filter(side=2).delete()
        abandon()
        tasks.sweep()
    trial.refresh_from_db()
    assert (trial.status, trial.error_code) == ("failed", "worker_lost")


def test_a_trial_that_is_held_is_left_alone(trial):
    claimed()
    tasks.sweep()
    trial.refresh_from_db()
    assert trial.status == "running"


def test_folders_of_killed_attempts_go(trial, settings):
    held = claimed()
    settings.LEASE_SECONDS = -1  # everything is old
    for attempt in (1, 2):
        (settings.TMP_DIR / f"trial-{held.pk}-{attempt}-x").mkdir()
    tasks.sweep()
    assert [path.name for path in settings.TMP_DIR.iterdir()] == [f"trial-{held.pk}-1-x"]


@pytest.mark.parametrize("end", [services.cancel_batch, services.delete_batch])
def test_a_trial_in_hand_is_stopped_when_its_batch_ends(trial, batch, end, shim, monkeypatch, settings):
    folder = shim("sleep 30 & wait")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.1)
    held = claimed()

    def read() -> None:
        try:
            tasks.trying.try_out(held)
        finally:
            connection.close()

    reading = threading.Thread(target=read)
    reading.start()
    wait_for(lambda: list(settings.TMP_DIR.glob("trial-*/pid")), 20)
    end(batch)
    reading.join(15)
    assert not reading.is_alive()
    assert not Trial.objects.exists()
    assert not list(settings.TMP_DIR.glob("trial-*"))
    assert not list(batch.folder.glob("*/*.jpg"))


def test_what_is_tried_next_takes_the_place_of_what_was(trial, batch):
    late = claimed()
    services.try_presets(batch, [1, 3], TWO)
    tasks.trying.try_out(late)
    assert [(one.page.number, one.status) for one in batch.trials.all()] == [
        (1, "queued"), (1, "queued"), (3, "queued"), (3, "queued"),
    ]  # fmt: skip


def test_the_image_of_what_was_tried_goes_with_it(trial, batch):
    tasks.work()
    assert trial.image_path.exists()
    services.try_presets(batch, [1], TWO)
    assert not trial.image_path.exists()


def test_after_the_end_nothing_is_tried(batch):
    services.cancel_batch(batch)
    assert services.try_presets(batch, [1], TWO) == 0
    assert not services.use_preset(batch, "Index cards", CARDS)
    batch.refresh_from_db()
    assert batch.reading_options() == Options()


def test_the_preset_that_is_chosen_is_used_for_what_has_not_been_read(batch):
    services.resume_batch(batch)
    tasks.work()
    services.pause_batch(batch)
    services.try_presets(batch, [2], TWO)
    in_hand = claimed()
    assert services.use_preset(batch, "Index cards", CARDS)
    assert not in_hand.renew()  # nobody waits for it any more
    for _ in range(2):
        tasks.work()
    check_invariants(batch)
    assert (batch.preset, batch.reading_options()) == ("Index cards", CARDS)
    assert [page.reading_options() for page in batch.pages.all()] == [PRINTED, CARDS, CARDS]
    assert types(batch).count("batch.resumed") == 2


def test_a_page_that_was_in_hand_meanwhile_keeps_the_options_it_was_read_with(batch):
    services.resume_batch(batch)
    page = Page.objects.claim()
    assert page
    services.use_preset(batch, "Index cards", CARDS)
    tasks.read(page)
    batch.refresh_from_db()
    assert [page.reading_options() for page in batch.pages.all()] == [PRINTED, CARDS, CARDS]


def test_a_preset_chosen_while_files_are_looked_at_holds_the_batch_no_more(make_batch):
    batch = make_batch(1)
    Batch.objects.update(held=True)
    assert services.use_preset(batch, "Index cards", CARDS)
    prepare_next()
    batch.refresh_from_db()
    assert (batch.status, batch.reading_options()) == ("running", CARDS)


def test_a_waiting_trial_is_work(trial, batch):
    assert Trial.objects.waiting().count() == 2
    services.cancel_batch(batch)
    assert not Trial.objects.waiting().exists()
