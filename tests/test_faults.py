"""Real faults: killed processes, a hanging engine, a Redis that is emptied or away, a full disk."""

import os
import signal
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import current_app
from django.conf import settings as site
from django.db import connection
from django.utils import timezone

from batches import services
from batches.models import Batch, Page
from tests.conftest import check_invariants, ended, wait_for
from tests.environment import POSTGRES
from tests.scans import draw, lines_of, write_many_pages, write_scans

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = {"LEASE_SECONDS": "6", "SWEEP_SECONDS": "1", "WORKER_SLOTS": "2"}


def children(pid: int) -> list[int]:
    """Processes whose parent is this one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # gone by now
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def engines(folder: Path) -> list[int]:
    """The processes that the shim has noted and that still run."""
    noted = (
        [int(line) for line in (folder / "pids").read_text().split()] if (folder / "pids").exists() else []
    )
    return [
        pid
        for pid in noted
        if Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()
    ]


@pytest.fixture
def slow(shim, tmp_path: Path) -> Path:
    """An engine that takes a minute as long as the file `slow` is there."""
    (tmp_path / "slow").touch()
    return Path(shim(f'echo $$ >> {tmp_path}/pids; [ -e {tmp_path}/slow ] && exec sleep 60; exec $REAL "$@"'))


@pytest.fixture
def stack(start, slow: Path) -> Any:
    """A worker on the slow engine, and the scheduler; with short leases."""
    start("beat", **QUICK)
    return start("worker", shim=slow, **QUICK)


def in_hand(pages: int, tmp_path: Path) -> None:
    """Wait until so many pages are being read."""
    wait_for(
        lambda: Page.objects.filter(status="running").count() == pages and len(engines(tmp_path)) == pages
    )


def test_a_pool_process_killed_in_mid_page(stack, make_batch, tmp_path: Path):
    batch = make_batch(2)
    in_hand(2, tmp_path)
    (tmp_path / "slow").unlink()
    for pid in children(stack.process.pid):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not engines(tmp_path), 5)  # the engine died with its worker
    wait_for(lambda: ended(batch), 36)  # lease + 30 s
    check_invariants(batch)
    assert [(page.attempt, page.status) for page in batch.pages.all()] == [(2, "succeeded")] * 2


def test_a_whole_worker_killed(stack, start, slow: Path, make_batch, tmp_path: Path):
    batch = make_batch(3)
    in_hand(2, tmp_path)
    pool = children(stack.process.pid)
    os.kill(stack.process.pid, signal.SIGKILL)
    wait_for(lambda: not engines(tmp_path) and not any(Path(f"/proc/{pid}").exists() for pid in pool), 5)
    (tmp_path / "slow").unlink()
    start("worker", shim=slow, **QUICK)
    wait_for(lambda: ended(batch), 36)
    check_invariants(batch)
    assert batch.succeeded == 3


def test_a_worker_told_to_stop_finishes_the_pages_in_hand(start, shim, make_batch, tmp_path: Path):
    unhurried = shim(f'echo $$ >> {tmp_path}/pids; sleep 3; exec $REAL "$@"')
    worker = start("worker", shim=unhurried, **QUICK)
    batch = make_batch(6)
    in_hand(2, tmp_path)
    worker.send(signal.SIGTERM)
    assert worker.process.wait(30) == 0
    assert sorted(batch.pages.values_list("status", flat=True)) == ["queued"] * 4 + ["succeeded"] * 2


def test_a_page_that_kills_its_worker_every_time(start, shim, make_batch, tmp_path: Path):
    """Page 3 is smaller; reading it ends the pool process. Its neighbours are read."""
    paths = write_scans(tmp_path / "scans", 4)
    draw(lines_of(3), size=(900, 600)).save(paths[2])
    poison = shim('[ $(stat -c %s "$1") -lt 600000 ] && kill -KILL $PPID; exec $REAL "$@"')
    start("beat", **QUICK)
    start("worker", shim=poison, **QUICK)
    batch = make_batch(files=paths)
    wait_for(lambda: ended(batch), 60)
    check_invariants(batch)
    assert [page.error_code for page in batch.pages.all()] == ["", "", "worker_lost", ""]
    assert batch.pages.get(number=3).attempt == 3


def test_a_hanging_engine_is_stopped_at_the_time_limit(start, slow: Path, make_batch, tmp_path: Path):
    start("worker", shim=slow, PAGE_TIMEOUT="2", **QUICK)
    batch = make_batch(1)
    in_hand(1, tmp_path)
    started = time.monotonic()
    wait_for(lambda: ended(batch), 7)  # the limit + 5 s
    assert time.monotonic() - started < 7
    check_invariants(batch)
    assert batch.pages.get().error_code == "timeout"
    assert not engines(tmp_path)


def test_a_page_is_held_as_long_as_it_is_read(start, shim, make_batch, tmp_path: Path):
    """Longer than its lease: which is renewed, so that nobody else takes it."""
    start("beat", **QUICK)
    start("worker", shim=shim(f'echo $$ >> {tmp_path}/pids; sleep 9; exec $REAL "$@"'), **QUICK)
    batch = make_batch(1)
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert (batch.pages.get().attempt, batch.succeeded) == (1, 1)


def test_cancel_stops_the_pages_in_hand(stack, make_batch, tmp_path: Path):
    batch = make_batch(5)
    in_hand(2, tmp_path)
    services.cancel_batch(batch)
    wait_for(lambda: ended(batch), 10)
    check_invariants(batch)
    assert (batch.status, batch.cancelled) == ("cancelled", 5)
    assert not engines(tmp_path)
    assert len((tmp_path / "pids").read_text().split()) == 2  # nothing new was begun


def test_delete_stops_the_pages_in_hand_and_leaves_no_file(stack, make_batch, tmp_path: Path):
    batch = make_batch(3)
    in_hand(2, tmp_path)
    services.delete_batch(batch)
    wait_for(lambda: not engines(tmp_path), 10)
    wait_for(lambda: not list(site.TMP_DIR.iterdir()), 10)
    assert not Batch.objects.exists()
    assert not Page.objects.exists()
    assert not batch.folder.exists()


def test_a_redis_that_is_emptied_in_mid_batch(stack, make_batch, tmp_path: Path):
    batch = make_batch(6)
    in_hand(2, tmp_path)
    (tmp_path / "slow").unlink()
    with redis.Redis.from_url(site.REDIS_URL) as client:
        client.flushall()
    for pid in engines(tmp_path):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert batch.succeeded + batch.failed == 6


A_MINUTE = pytest.param(60, marks=pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="takes long"))


@pytest.mark.parametrize("away", [3, A_MINUTE])
def test_a_redis_that_is_away_in_mid_batch(stack, redis_server, make_batch, tmp_path: Path, away: int):
    (tmp_path / "slow").unlink()
    batch = make_batch(files=[write_many_pages(tmp_path / "box.tif", 12)])
    wait_for(lambda: Batch.objects.get(pk=batch.pk).succeeded > 3)
    redis_server.process.kill()
    redis_server.process.wait()
    time.sleep(away)
    redis_server.ensure()
    wait_for(lambda: ended(batch), 60)
    check_invariants(batch)
    assert batch.succeeded == 12


def test_the_same_task_delivered_five_times(start, make_batch):
    """At once and one after the other, before the work, during it and after it."""
    batch = make_batch(3)
    same = partial(current_app.send_task, "batches.tasks.work", task_id=str(batch.pk))
    for _ in range(5):
        same()
    start("worker", **QUICK)
    wait_for(lambda: Batch.objects.get(pk=batch.pk).current)
    for _ in range(5):
        same()
    wait_for(lambda: ended(batch))
    same()
    with redis.Redis.from_url(site.REDIS_URL) as client:
        wait_for(lambda: not client.llen("work"))
    check_invariants(batch)
    assert [(page.attempt, page.status) for page in batch.pages.all()] == [(1, "succeeded")] * 3


def test_pause_and_resume_with_pages_in_hand(start, shim, make_batch, tmp_path: Path):
    start("worker", shim=shim(f'echo $$ >> {tmp_path}/pids; sleep 2; exec $REAL "$@"'), **QUICK)
    batch = make_batch(5)
    in_hand(2, tmp_path)
    services.pause_batch(batch)
    wait_for(lambda: Batch.objects.get(pk=batch.pk).succeeded == 2)
    time.sleep(3)  # no page is begun
    assert sorted(batch.pages.values_list("status", flat=True)) == ["queued"] * 3 + ["succeeded"] * 2
    services.resume_batch(batch)
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert [page.attempt for page in batch.pages.all()] == [1] * 5


WRONG_CLOCK = """
import datetime, os, time
open(os.path.join(os.path.dirname(__file__), "is_wrong"), "w").close()
off, right = float(os.environ["CLOCK_OFF"]), time.time
time.time = lambda: right() + off
time.time_ns = lambda: int(time.time() * 1e9)
class Wrong(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
    @classmethod
    def utcnow(cls):
        return cls.utcfromtimestamp(time.time())
datetime.datetime = Wrong
"""


def test_workers_whose_clocks_are_an_hour_off(start, slow: Path, make_batch, tmp_path: Path):
    """They hold their pages beyond the lease, and those of their lost pool processes are soon read again."""
    clock = tmp_path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(WRONG_CLOCK)
    start("beat", **QUICK)
    one = QUICK | {"WORKER_SLOTS": "1", "PYTHONPATH": str(clock)}
    workers = [start("worker", shim=slow, **one, CLOCK_OFF=off) for off in ("3600", "-3600")]
    batch = make_batch(2)
    in_hand(2, tmp_path)
    time.sleep(8)  # the lease and a sweep
    assert (clock / "is_wrong").exists()
    assert [page.attempt for page in batch.pages.all()] == [1, 1]
    (tmp_path / "slow").unlink()
    for pid in [pid for worker in workers for pid in children(worker.process.pid)]:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: ended(batch), 36)
    check_invariants(batch)
    assert [(page.attempt, page.status) for page in batch.pages.all()] == [(2, "succeeded")] * 2
    times = [*batch.events.values_list("created", flat=True), batch.run_started, batch.finished]
    assert all(abs(told - timezone.now()) < timedelta(minutes=2) for told in times if told)


@pytest.mark.skipif(POSTGRES is None, reason="only where the tests run on PostgreSQL")
def test_a_postgresql_that_is_restarted_in_mid_batch(stack, make_batch, tmp_path: Path):
    assert POSTGRES
    (tmp_path / "slow").unlink()
    batch = make_batch(files=[write_many_pages(tmp_path / "box.tif", 12)])
    wait_for(lambda: Batch.objects.get(pk=batch.pk).succeeded > 3)
    connection.close()
    POSTGRES.restart()
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert batch.succeeded == 12


def test_a_batch_submitted_while_redis_is_away(stack, redis_server, make_batch, tmp_path: Path):
    (tmp_path / "slow").unlink()
    redis_server.stop(grace=5)
    started = time.monotonic()
    batch = make_batch(2)
    assert time.monotonic() - started < 3
    assert batch.status == "queued"
    redis_server.ensure()
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert batch.succeeded == 2


def test_a_disk_that_fills_while_a_page_is_read(start, make_batch, tmp_path: Path):
    """A real file system with no room: the reading's private folder is on it."""
    if os.getuid() != 0:
        pytest.skip("mounting a small file system needs root")
    batch = make_batch(1)
    small = site.TMP_DIR
    assert os.system(f"mount -t tmpfs -o size=64k tmpfs {small}") == 0
    try:
        start("worker", **QUICK)
        wait_for(lambda: ended(batch))
    finally:
        time.sleep(0.5)
        os.system(f"umount -l {small}")
    check_invariants(batch)
    assert batch.pages.get().error_code == "no_space"
    assert services.retry_batch(batch) == 1
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert batch.succeeded == 1
