"""`make run` and `manage.py ocr` as processes of their own, each with a DATA_DIR of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.conftest import listens, wait_for
from tests.postgres import free_port
from tests.scans import lines_of, write_many_pages, write_scans
from tests.zips import write_zip

PROJECT = Path(__file__).parent.parent


def processes(folder: Path) -> list[str]:
    """Command lines of what runs on this DATA_DIR, which is in its environment, or among its words."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_text().replace("\0", " ")
            environment = (entry / "environ").read_bytes().split(b"\0")
            if f"DATA_DIR={folder}".encode() in environment or str(folder) in command:
                found.append(command)
        except OSError:  # not a process, or gone by now
            continue
    return found


class Site:
    """The product as a person starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.env = os.environ | {"REDIS_URL": "", "DATABASE_URL": "", "DATA_DIR": str(folder)}
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "manage.py", *words]

    def serve(self) -> subprocess.Popen[bytes]:
        self.log = self.folder.parent / f"serve-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            command = self.command("serve", "--port", str(self.port))
            self.process = subprocess.Popen(command, cwd=PROJECT, env=self.env, stdout=log, stderr=log)
        wait_for(lambda: listens(self.port) or self.process.poll() is not None)  # type: ignore[union-attr]
        return self.process

    def get(self, path: str) -> str:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            return str(error.read().decode())

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), cwd=PROJECT, env=self.env, capture_output=True, text=True, timeout=120
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "data")
    yield site
    if site.process and site.process.poll() is None:
        site.process.send_signal(signal.SIGKILL)
        site.process.wait()
    wait_for(lambda: not processes(site.folder), 20)


def test_a_first_start_a_second_start_and_every_way_to_stop(site: Site):
    process = site.serve()
    assert "Sign in" in site.get("/accounts/login/")
    wait_for(lambda: '"ready": true' in site.get("/readyz"))
    password = re.search(r"administrator: admin\n +Password: (\S+)", site.log.read_text())
    assert password
    assert {name for line in processes(site.folder) for name in ("redis", "daphne", "worker", "beat") if name in line} == {
        "redis", "daphne", "worker", "beat",
    }  # fmt: skip
    assert (site.folder / "redis" / "redis.sock").exists()
    assert (site.folder / "redis" / "appendonlydir").exists()

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert not processes(site.folder)

    started = time.monotonic()
    process = site.serve()
    assert "Sign in" in site.get("/accounts/login/")
    assert time.monotonic() - started < 15  # 3.5 s when quiet: the promise is 5 s, noise allowed for
    assert "Password" not in site.log.read_text()

    process.kill()
    wait_for(lambda: not processes(site.folder), 10)


def test_a_worker_that_is_killed_is_started_again(site: Site):
    serve = site.serve()
    (worker,) = wait_for(lambda: workers_of(serve.pid))
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: (found := workers_of(serve.pid)) and worker not in found, 20)
    wait_for(lambda: "worker ended (status -9): started again" in site.log.read_text(), 5)


def workers_of(parent: int) -> list[int]:
    """The worker that this process has started, as a list of one or none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, ppid = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if int(ppid) == parent and state != "Z" and b"\0worker\0" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # gone by now
            continue
    return found


def test_a_port_that_is_taken_is_told(site: Site):
    site.serve()
    answer = site.run("serve", "--port", str(site.port))
    assert answer.returncode == 1
    assert f"PORT={site.port + 1} make run" in answer.stderr


def test_a_data_folder_with_a_long_path_works(tmp_path: Path):
    site = Site(tmp_path / ("long" * 20) / ("long" * 20))
    site.folder.mkdir(parents=True)
    answer = site.run("ocr", str(write_scans(tmp_path, 1)[0]), "--out", str(tmp_path / "text"))
    assert answer.returncode == 0, answer.stderr
    assert not processes(site.folder)


def test_the_command_reads_files_and_folders(site: Site, tmp_path: Path):
    scans = tmp_path / "scans"
    write_scans(scans / "box", 2)
    write_many_pages(scans / "box.tif", 2)
    (scans / "box" / "card-2.png").rename(scans / "caf\udce9.png")  # a name that is no UTF-8: the byte E9
    (scans / "notes.txt").write_text("not a scan")
    (scans / ".hidden.png").write_text("not seen")
    write_zip(scans / "post.zip", {"letters/card.png": (scans / "box" / "card-1.png").read_bytes()})
    letter = write_many_pages(tmp_path / "box.pdf", 1)
    answer = site.run("ocr", str(scans), str(letter), "--lang", "eng+deu", "--out", str(tmp_path / "text"))
    assert answer.returncode == 0, answer.stderr
    out = tmp_path / "text"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.txt")) == [
        "box.pdf.txt", "box.txt", "box/card-1.txt", "caf\udce9.txt", "post/letters/card.txt",
    ]  # fmt: skip
    assert lines_of(2)[0] in (out / "caf\udce9.txt").read_text()
    assert [part.splitlines()[0] for part in (out / "box.txt").read_text().split("\f")] == [
        lines_of(1)[0],
        lines_of(2)[0],
    ]
    assert "Skipped, not an image or PDF" in answer.stderr
    assert "6 of 6 pages read" in answer.stderr
    assert not processes(site.folder)


def test_the_command_names_what_failed(site: Site, tmp_path: Path):
    good, bad = write_scans(tmp_path, 2)
    bad.write_bytes(bad.read_bytes()[:4000])
    (tmp_path / "letter.doc").write_text("words")
    answer = site.run(
        "ocr", str(good), str(bad), str(tmp_path / "letter.doc"), "--out", str(tmp_path / "text")
    )
    assert answer.returncode == 1
    assert "Failed: card-2.png" in answer.stderr
    assert "Refused: letter.doc" in answer.stderr
    assert "1 of 2 pages read, 1 failed; 1 files refused" in answer.stderr
    assert (tmp_path / "text" / "card-1.txt").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.png"], "nowhere.png does not exist"),
        (["README.md", "--lang", "xyz"], "Not installed on this server: xyz"),
        (["README.md", "--owner", "nobody"], "There is no user nobody"),
        (["bin/"], "no image or PDF"),
        ([], "required: PATH"),
    ],
)
def test_wrong_usage_is_told(site: Site, words: list[str], told: str):
    answer = site.run("ocr", *words)
    assert answer.returncode == 2, answer.stderr
    assert told in answer.stderr


def test_the_command_uses_what_is_running_already(site: Site, tmp_path: Path):
    site.serve()
    wait_for(lambda: '"ready": true' in site.get("/readyz"))
    before = len(processes(site.folder))
    answer = site.run("ocr", *map(str, write_scans(tmp_path, 2)), "--out", str(tmp_path / "text"))
    assert answer.returncode == 0, answer.stderr
    assert len(processes(site.folder)) == before
    assert '"ready": true' in site.get("/readyz")


def test_nothing_outlives_a_kill_in_mid_page(site: Site, tmp_path: Path):
    command = site.command(
        "ocr", str(write_many_pages(tmp_path / "box.tif", 60)), "--out", str(tmp_path / "text")
    )
    process = subprocess.Popen(command, cwd=PROJECT, env=site.env, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(line.startswith("tesseract ") for line in processes(site.folder)))
    process.kill()
    process.wait()
    wait_for(lambda: not processes(site.folder), 10)


def test_the_command_cancels_when_it_is_interrupted(site: Site, tmp_path: Path):
    command = site.command(
        "ocr", str(write_many_pages(tmp_path / "box.tif", 60)), "--out", str(tmp_path / "text")
    )
    with (tmp_path / "stderr").open("wb") as stderr:
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job does not
        process = subprocess.Popen(command, cwd=PROJECT, env=site.env, stderr=stderr, preexec_fn=heed)
    wait_for(lambda: list(site.folder.glob("batches/*/pages/*.json")))
    process.send_signal(signal.SIGINT)
    wait_for(lambda: process.poll() is not None)
    assert process.returncode == 130
    assert "Cancelled; what was read is kept" in (tmp_path / "stderr").read_text()
    assert not processes(site.folder)
