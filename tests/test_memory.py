"""Big pages don't kill the machine: how many slots memory allows, how large pages will be, one big one at a time."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pikepdf import Pdf
from PIL import Image

from batches import tasks
from batches.documents import Document, Kind, Limits, inspect, weigh_all
from batches.models import Batch, Page
from batches.tasks.memory import BigPageLock, claimed
from ocrsite import memory
from tests.conftest import check_invariants, prepare_next, wait_for
from tests.pdfs import add_page, image_at, write_text_pdf
from tests.scans import write_scans
from tests.zips import write_zip

GB = 10**9
LIMITS = Limits()

# ------------------------------------------------------------------ slots


@pytest.mark.parametrize(
    ("cores", "available", "slots"),
    [(8, 64 * GB, 8), (8, 8 * GB, 8), (8, 6 * GB, 6), (4, 3 * GB, 1), (2, 0, 1), (1, 64 * GB, 1)],
)
def test_memory_decides_where_it_is_short(cores: int, available: int, slots: int):
    assert memory.slots(cores, available) == slots


def test_so_many_slots_fit():
    """With a big page in one of them."""
    for available in range(4 * GB, 64 * GB, GB):
        slots = memory.slots(1000, available)
        assert memory.BIG_PAGE_BYTES + (slots - 1) * memory.PAGE_BYTES <= memory.SHARE * available


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., int]:
    """What is available on a machine with 16 GB free that has these files beside /proc/meminfo."""

    def available(**files: str) -> int:
        files |= {"proc/meminfo": "MemTotal:       32000000 kB\nMemAvailable:   16000000 kB\n"}
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return memory.available(tmp_path)

    return available


def test_what_is_free_is_available(machine):
    assert machine() == 16_000_000 * 1024


def test_a_control_group_of_version_2_bounds_it(machine):
    files = {"proc/self/cgroup": "0::/ocr/worker\n", "sys/fs/cgroup/ocr/worker/memory.max": "max\n"}
    assert machine(**files) == 16_000_000 * 1024
    assert machine(**files, **{"sys/fs/cgroup/ocr/memory.max": "4000000000\n"}) == 4 * GB


def test_a_control_group_of_version_1_bounds_it(machine):
    files = {"proc/self/cgroup": "4:cpu,memory:/docker/1\n0::/\n"}
    files["sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n"
    assert machine(**files) == 16_000_000 * 1024
    files["sys/fs/cgroup/memory/memory.limit_in_bytes"] = "3000000000\n"
    assert machine(**files) == 3 * GB, "the container's own, at the root of what it sees"


def test_this_machine_tells_what_it_has():
    assert memory.available() > GB / 10


# ------------------------------------------------------------------ how large pages will be


def test_an_image_tells_its_size(tmp_path: Path):
    Image.new("L", (2000, 1500)).save(tmp_path / "a.png")
    assert megapixels(tmp_path / "a.png") == (3.0,)


def test_each_frame_tells_its_size(tmp_path: Path):
    frames = [Image.new("L", size) for size in ((1000, 1000), (2000, 1000), (500, 1000))]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    assert megapixels(tmp_path / "a.tif") == (1.0, 2.0, 0.5)


def test_a_pdf_tells_what_will_be_drawn_or_decoded(tmp_path: Path):
    with Pdf.new() as pdf:
        add_page(pdf, "", size=(720, 720))
        add_page(pdf, image_at(0, 0, 72, 72), image=Image.new("1", (6000, 5000)), size=(72, 72))
        pdf.save(tmp_path / "a.pdf")
    (found,) = weigh_all([tmp_path / "a.pdf"], LIMITS)
    assert found == pytest.approx((9.0, 30.0))  # 10 × 10 inches at 300 dpi; the scan on the other


def test_a_file_that_cannot_be_weighed_is_of_unknown_size(tmp_path: Path):
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.7 nothing")
    good = write_text_pdf(tmp_path / "a.pdf", ["A letter"])
    assert weigh_all([tmp_path / "b.pdf", good], LIMITS, within=60) == [(), (pytest.approx(8.415),)]


def test_pages_beyond_those_looked_at_are_like_the_last_of_them():
    document = Document(Kind.PDF, 1000, megapixels=(1.0, 2.0))
    assert [document.megapixels_of(index) for index in (0, 1, 999)] == [1.0, 2.0, 2.0]
    assert Document(Kind.PDF, 1).megapixels_of(0) == 0.0


@pytest.mark.django_db(transaction=True)
def test_pages_are_weighed_when_they_are_prepared(make_batch, tmp_path: Path):
    card = write_scans(tmp_path, 1)[0]
    letter = write_text_pdf(tmp_path / "a.pdf", ["A letter"])
    archive = write_zip(tmp_path / "b.zip", {"in.pdf": letter.read_bytes(), "card.png": card.read_bytes()})
    batch = make_batch(files=[card, letter, archive])
    while batch.files.waiting().exists():
        prepare_next()
    weights = [round(weight, 1) for weight in batch.pages.values_list("weight", flat=True)]
    assert weights == [0.7, 8.4, 0.7, 8.4]


def megapixels(path: Path) -> tuple[float, ...]:
    document = inspect(path, LIMITS)
    assert isinstance(document, Document)
    return document.megapixels


# ------------------------------------------------------------------ one big page at a time


@pytest.fixture
def batch(make_batch) -> Batch:
    """Prepared: pages 1 and 2 are big, or count as that; page 3 is none."""
    batch: Batch = make_batch(3)
    prepare_next()
    batch.pages.filter(number__lt=3).update(weight=100.0)
    return batch


@pytest.fixture
def elsewhere(settings):
    """The lock in another process on this machine, which is killed at the end."""
    path = BigPageLock().path
    script = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.django_db(transaction=True)
def test_a_big_page_in_hand_leaves_the_others_to_others(batch):
    with (
        claimed(Page.objects.claim) as first,
        claimed(Page.objects.claim) as second,
        claimed(Page.objects.claim) as third,
    ):
        assert [page and page.number for page in (first, second, third)] == [1, 3, None]
    with claimed(Page.objects.claim) as last:
        assert last
        assert last.number == 2


@pytest.mark.django_db(transaction=True)
def test_an_ordinary_page_in_hand_hinders_nobody(batch):
    Page.objects.update(weight=1.0)
    with claimed(Page.objects.claim) as first, claimed(Page.objects.claim) as second:
        Page.objects.filter(number=3).update(weight=100.0)
        with claimed(Page.objects.claim) as third:
            assert [page and page.number for page in (first, second, third)] == [1, 2, 3]


@pytest.mark.django_db(transaction=True)
def test_the_lock_of_a_process_that_dies_is_free(batch, elsewhere):
    lock = BigPageLock()
    assert not lock.take()
    elsewhere.send_signal(signal.SIGKILL)
    elsewhere.wait()
    assert lock.take()
    lock.release()
    assert not lock.held


def test_where_files_cannot_be_locked_nothing_waits_for_ever(settings, tmp_path: Path, caplog):
    settings.DATA_DIR = tmp_path
    lock = BigPageLock()
    lock.path.mkdir()
    assert lock.take()
    assert "cannot be locked" in caplog.text
    lock.release()


@pytest.mark.django_db(transaction=True)
def test_after_a_big_page_somebody_is_woken(batch, settings, elsewhere):
    """For those that wait; and only then: with nothing to take, a token ends."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete("work")
        Page.objects.filter(number=3).delete()
        tasks.work()
        assert client.llen("work") == 0, "big pages only, and another process has one in hand"
        elsewhere.kill()
        elsewhere.wait()
        with claimed(Page.objects.claim) as page:
            assert page
            client.delete("work")
        assert client.llen("work") == 1
        client.delete("work")


@pytest.mark.django_db(transaction=True)
def test_pages_that_wait_for_a_big_one_are_no_trouble(batch, settings):
    """Another machine may read them, so a token is put; but nothing was to be mended."""
    Page.objects.filter(number=3).delete()
    with claimed(Page.objects.claim):
        assert tasks.mend() == []
    assert tasks.mend() == []  # a token has been put
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete("work")
    Page.objects.filter(status="running").update(status="queued", lease_expires_at=None)
    assert tasks.mend() == ["Work was waiting with no token for it: one was put"]


@pytest.mark.django_db(transaction=True)
def test_a_batch_of_big_pages_is_read_one_by_one(make_batch, start, tmp_path: Path, shim):
    """By a worker with two slots, without waiting for the sweep: there is none."""
    batch = make_batch(4)
    prepare_next()
    batch.pages.update(weight=100.0)
    busy = tmp_path / "busy"
    one_by_one = f'mkdir {busy} || touch {tmp_path}/together; $REAL "$@"; sleep 0.2; rmdir {busy}'
    start("worker", shim=shim(one_by_one), WORKER_SLOTS="2")
    tasks.wake()
    wait_for(lambda: not batch.pages.filter(status__in=["queued", "running"]).exists())
    assert not (tmp_path / "together").exists()
    check_invariants(batch)
