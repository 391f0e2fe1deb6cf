"""One message is good for several pages, and not for long."""

import multiprocessing
import os
import signal
import threading
import time
from uuid import uuid4

import pytest
import redis

from batches import doorbell, events, tasks
from batches.models import Page
from batches.tasks import stop_after_this
from ocrsite.settings import SOFT_LIMIT, WORK_SECONDS
from tests.conftest import ended, wait_for


@pytest.fixture
def told_to_stop():
    """As the worker tells the processes of its pool."""
    stop_after_this()
    yield
    tasks._stopping[0] = 0


@pytest.fixture
def no_hurry(settings):
    settings.WORK_SECONDS = 120


def test_a_message_is_good_for_several_pages(make_batch, no_hurry: None):
    batch = make_batch(3)
    tasks.work_on()
    assert ended(batch)
    assert batch.succeeded == 3


def test_batches_take_turns_within_one_message(make_batch, no_hurry: None):
    first, second = make_batch(2), make_batch(1)
    tasks.work_on()
    assert ended(first)
    assert ended(second)
    claims = Page.objects.order_by("claimed_at").values_list("batch", flat=True)
    assert list(claims[:2]) != [first.pk, first.pk]


def test_after_some_seconds_another_message_goes_on(make_batch, settings):
    settings.WORK_SECONDS = 0
    batch = make_batch(2)
    tasks.work_on()
    batch.refresh_from_db()
    assert batch.current == 1


def test_nothing_is_begun_once_the_worker_is_to_stop(make_batch, told_to_stop: None):
    batch = make_batch(2)
    tasks.work_on()
    batch.refresh_from_db()
    assert batch.current == 1


def test_a_worker_that_is_told_to_end_finishes_the_pages_in_hand_only(start, make_batch):
    worker = start("worker", WORKER_SLOTS="1")
    batch = make_batch(12)
    wait_for(lambda: Page.objects.filter(batch=batch, status="succeeded").exists())
    assert worker.process
    os.kill(worker.process.pid, signal.SIGTERM)
    wait_for(lambda: not worker.alive, 20)
    assert not Page.objects.filter(batch=batch, status="running").exists()
    assert Page.objects.filter(batch=batch, status="queued").count() >= 8


def test_a_page_that_is_begun_last_has_its_whole_time():
    assert SOFT_LIMIT > WORK_SECONDS + 120


def test_a_token_is_put_at_once_after_redis_was_restarted(redis_server, settings):
    """Though the connection that is kept is of before."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete("work")
        assert tasks.wake()
        redis_server.stop(grace=10)
        redis_server.ensure()
        client.delete("work")
        assert tasks.wake()
        assert client.llen("work") == 1
        client.delete("work")


def test_an_event_is_broadcast_after_redis_was_restarted(redis_server, caplog):
    """Though the loop's connection is of before."""
    events._broadcast(uuid4(), 1, [])
    redis_server.stop(grace=10)
    redis_server.ensure()
    events._broadcast(uuid4(), 2, [])
    assert "not broadcast" not in caplog.text


def test_broadcasts_share_one_thread_and_its_connection():
    """And a process that is forked has its own."""
    events._broadcast(uuid4(), 1, [])
    before = threading.active_count()
    for seq in range(2, 6):
        events._broadcast(uuid4(), seq, [])
    assert threading.active_count() == before
    context = multiprocessing.get_context("fork")
    child = context.Process(target=events._broadcast, args=(uuid4(), 1, []))
    started = time.monotonic()
    child.start()
    child.join(10)
    assert child.exitcode == 0
    assert time.monotonic() - started < doorbell.ANSWER_WITHIN
