"""The cage: what breaks its limits ends alone, by name, and takes nothing with it. With real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from batches import ocr
from batches.documents import Document, Kind, Limits, PageImage, cage, inspect, inspect_all, load_page
from batches.errors import (
    CorruptFile,
    EngineTimeout,
    NoSpace,
    OutOfMemory,
    SourceMissing,
    TooLarge,
    UnsupportedType,
)
from batches.helper import Helper
from tests.conftest import wait_for
from tests.scans import scan, write_scans
from tests.test_faults import children
from tests.zips import write_zip

LIMITS = Limits()


@pytest.fixture(scope="module")
def slow_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It takes seconds to decode: some hundred millions of pixels."""
    path: Path = tmp_path_factory.mktemp("slow") / "slow.png"
    Image.new("1", (40_000, 20_000)).save(path)
    return path


def helper() -> Helper:
    """This thread's helper, which a request has started."""
    mine = cage._mine.helper
    assert mine
    return mine


def in_thread(what: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Do it in another thread; what it raises is in the list."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            what()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def load_slowly(path: Path, folder: Path, seconds: float = 18) -> PageImage:
    limits = Limits(max_pixels=1 << 40, seconds=seconds, memory=8 * 1024**3)
    return load_page(path, Kind.PNG, 0, folder, limits)


def test_one_helper_serves_many_requests_each_in_a_process_of_its_own(tmp_path: Path):
    paths = write_scans(tmp_path, 2)
    inspect(paths[0], LIMITS)
    process = helper().process
    inspect(paths[1], LIMITS)
    assert helper().process is process
    assert not children(process.pid)


def test_opening_is_cheap(tmp_path: Path):
    """A page takes Tesseract seconds; the cage adds milliseconds."""
    (path,) = write_scans(tmp_path, 1)
    inspect(path, LIMITS)
    took = []
    for _ in range(10):
        started = time.monotonic()
        inspect(path, LIMITS)
        took.append(time.monotonic() - started)
    assert min(took) < 0.05


def test_what_takes_too_long_is_ended(slow_file: Path, tmp_path: Path):
    started = time.monotonic()
    with pytest.raises(EngineTimeout, match="longer than the time limit"):
        load_slowly(slow_file, tmp_path, seconds=0.3)
    assert time.monotonic() - started < 5
    assert not children(helper().process.pid)


def test_what_takes_too_much_memory_is_ended(slow_file: Path, tmp_path: Path):
    limits = Limits(max_pixels=1 << 40, memory=512 * 1024**2)
    with pytest.raises((OutOfMemory, TooLarge)):
        load_page(slow_file, Kind.PNG, 0, tmp_path, limits)


def test_a_crash_of_the_decoder_is_the_files(slow_file: Path, tmp_path: Path):
    """As a segmentation fault in a library would end it."""
    thread, raised = in_thread(lambda: load_slowly(slow_file, tmp_path))
    os.kill(wait_for(lambda: _pid(tmp_path)), signal.SIGSEGV)
    thread.join()
    assert isinstance(raised[0], CorruptFile)
    assert "built to do harm" in str(raised[0])


def test_a_reading_is_stopped_from_outside(slow_file: Path, tmp_path: Path):
    """As when its batch is cancelled."""
    thread, raised = in_thread(lambda: load_slowly(slow_file, tmp_path))
    pid = wait_for(lambda: _pid(tmp_path))
    ocr.stop(tmp_path)
    thread.join(5)
    assert not thread.is_alive()
    assert not Path(f"/proc/{pid}").exists()
    assert raised
    with pytest.raises(CorruptFile):  # nothing begins in a folder that was stopped
        load_page(write_scans(tmp_path / "scans", 1)[0], Kind.PNG, 0, tmp_path, LIMITS)


def test_a_helper_that_is_killed_is_replaced(slow_file: Path, tmp_path: Path):
    (path,) = write_scans(tmp_path / "scans", 1)
    pids: list[int] = []

    def lose_the_helper() -> None:
        inspect(path, LIMITS)
        process = helper().process
        pids.append(process.pid)
        killer = threading.Timer(0.3, process.kill)
        killer.start()
        try:
            with pytest.raises(OutOfMemory):
                load_slowly(slow_file, tmp_path)
            inspect(path, LIMITS)
        finally:
            killer.join()
        assert helper().process.pid != process.pid

    thread, raised = in_thread(lose_the_helper)
    child = wait_for(lambda: _pid(tmp_path))
    thread.join()
    assert not raised
    wait_for(lambda: not Path(f"/proc/{child}").exists(), 5)


def test_everything_dies_with_the_worker(slow_file: Path, tmp_path: Path):
    """Killed outright: neither its helper nor what the helper has in hand lives on."""
    script = (
        "import sys; from pathlib import Path; from batches.documents import *;"
        "load_page(Path(sys.argv[1]), Kind.PNG, 0, Path(sys.argv[2]), Limits(max_pixels=1 << 40, memory=8 << 30))"
    )
    worker = subprocess.Popen([sys.executable, "-c", script, str(slow_file), str(tmp_path)])
    child = wait_for(lambda: _pid(tmp_path))
    (helper_pid,) = children(worker.pid)
    worker.kill()
    worker.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (child, helper_pid)), 5)


def test_a_thread_takes_its_helper_with_it(tmp_path: Path):
    (path,) = write_scans(tmp_path, 1)
    pids: list[int] = []

    def look() -> None:
        inspect(path, LIMITS)
        pids.append(helper().process.pid)

    thread, raised = in_thread(look)
    thread.join()
    assert not raised
    wait_for(lambda: not Path(f"/proc/{pids[0]}").exists(), 5)


def test_the_process_has_a_clean_environment_and_knows_no_secrets(
    slow_file: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("SECRET_KEY", "not for children")
    cage.stop_helper()
    thread, _ = in_thread(lambda: load_slowly(slow_file, tmp_path))
    pid = wait_for(lambda: _pid(tmp_path))
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    group = os.getpgid(pid)
    ocr.stop(tmp_path)
    thread.join()
    assert b"SECRET_KEY" not in environment
    assert group == pid


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path):
    (path,) = write_scans(tmp_path / "scans", 1)
    (tmp_path / "tmp").mkdir()
    inspect(path, LIMITS, tmp_path / "tmp")
    with pytest.raises(CorruptFile):
        inspect(write_zip(tmp_path / "a.zip", {}), LIMITS, tmp_path / "tmp")
    assert not list((tmp_path / "tmp").iterdir())


def test_what_would_write_too_much_is_too_large(tmp_path: Path, monkeypatch):
    """A file that unpacks to more than may be written: here, to a full device."""
    path = write_zip(tmp_path / "box.zip", {"card.png": os.urandom(100_000)})
    monkeypatch.setattr(cage, "UNPACKED_A_SECOND", 1 << 40)
    with pytest.raises(TooLarge):
        cage.unpack(path, {1: tmp_path / "card"}, Limits(max_file_bytes=50_000))


def test_a_full_disk_is_told_as_that(tmp_path: Path):
    if os.getuid() != 0:
        pytest.skip("mounting a small file system needs root")
    (path,) = write_scans(tmp_path, 1)
    small = tmp_path / "small"
    small.mkdir()
    assert os.system(f"mount -t tmpfs -o size=64k tmpfs {small}") == 0
    try:
        with pytest.raises(NoSpace):
            load_page(path, Kind.PNG, 0, small, LIMITS)
    finally:
        os.system(f"umount -l {small}")


def test_tesseract_gets_only_an_image_that_is_whole(tmp_path: Path):
    scan(1).save(tmp_path / "scan.png")
    page = load_page(tmp_path / "scan.png", Kind.PNG, 0, tmp_path, LIMITS)
    cage._check_files(page)
    page.gray.write_bytes(b"/etc/passwd\n" * 100_000)
    with pytest.raises(ValueError, match="promised"):
        cage._check_files(page)


def _pid(folder: Path) -> int:
    """The process that opens something in this folder; 0 before it has said so."""
    try:
        return int((folder / "pid").read_text())
    except (FileNotFoundError, ValueError):
        return 0


def test_many_files_are_looked_at_together(tmp_path: Path):
    """What is wrong with one is told of it alone."""
    good = write_scans(tmp_path, 3)
    (tmp_path / "notes.txt").write_text("nothing")
    found = inspect_all([good[0], tmp_path / "notes.txt", tmp_path / "gone", good[1]], LIMITS, within=60)
    assert found[0] == found[3] == Document(Kind.PNG, 1)
    assert [type(error) for error in found[1:3]] == [UnsupportedType, SourceMissing]


def test_a_file_that_ends_the_process_is_the_last_one_told_of(tmp_path: Path):
    """It is known to be this one; those after it are looked at next time."""
    good = write_scans(tmp_path, 3)
    os.mkfifo(tmp_path / "endless")
    limits = Limits(seconds=1.0)
    found = inspect_all([good[0], tmp_path / "endless", good[1]], limits, within=60)
    assert found[0] == Document(Kind.PNG, 1)
    assert [type(error) for error in found[1:]] == [EngineTimeout]


def test_no_file_is_begun_after_the_time_given(tmp_path: Path):
    assert len(inspect_all(write_scans(tmp_path, 3), LIMITS)) == 1
