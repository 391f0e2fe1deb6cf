"""The real parts: Redis, workers, a web server, started on free ports in a temporary folder and stopped."""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from copy import copy
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.client import ClientHandler

from batches import health, ocr, services, tasks
from batches.models import Batch, Page
from batches.services import LocalFile
from ocrsite.processes import PrivateRedis, Program, procfile
from tests.browser import a_page, chromium, signed_in  # noqa: F401
from tests.environment import FOLDER
from tests.postgres import free_port
from tests.scans import write_scans

WAIT = 60.0  # seconds until something that must happen counts as not having happened


def wait_for(what: Callable[[], Any], seconds: float = WAIT) -> Any:
    """Call `what` until it answers something true, and answer that."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.05)
    return answer


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pytest_collection() -> None:
    """Pages are served as in production: with static files collected, compressed and hashed."""
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(scope="session", autouse=True)
def redis_server() -> Iterator[PrivateRedis]:
    server = PrivateRedis()
    server.ensure()
    yield server
    server.stop(grace=10)


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Rows go with each test; so do the files that belonged to them, and what was known of the parts."""
    yield
    health.forget()
    for folder in ("batches", "tmp", "uploads", "recognised"):
        shutil.rmtree(FOLDER / folder, ignore_errors=True)
    (FOLDER / "tmp").mkdir()


def database_url() -> str:
    """The test database, for processes of the product."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture
def start(transactional_db: None) -> Iterator[Callable[..., Program]]:
    """Starts a program of the Procfile on the test database, and stops it after the test."""
    started: list[Program] = []

    def start_program(name: str, *, port: int = 0, shim: Path | None = None, **env: str) -> Program:
        node = f"{name}-{len(started)}-{os.getpid()}@test"
        program = procfile(HOST="127.0.0.1", PORT=str(port), NODE=node)[name]
        program.env = {"DATABASE_URL": database_url()} | env
        if shim:
            program.env["PATH"] = f"{shim}{os.pathsep}{Path(program_path())}{os.pathsep}{os.environ['PATH']}"
        program.start()
        started.append(program)
        return program

    yield start_program
    for program in started:
        program.stop(grace=0)  # no test is interested in how it ends; those that are, end it themselves


def program_path() -> str:
    """Where the programs of this virtual environment are."""
    import sys

    return str(Path(sys.executable).parent)


@pytest.fixture
def worker(start: Callable[..., Program]) -> Program:
    """A worker with two slots. It need not be ready yet: work waits for it."""
    return start("worker", WORKER_SLOTS="2")


@pytest.fixture(scope="session")
def web_server(django_db_setup: None, redis_server: PrivateRedis) -> Iterator[str]:
    """One web server for all tests that do nothing to it: all that it knows is in the database."""
    port = free_port()
    program = procfile(HOST="127.0.0.1", PORT=str(port), NODE="")["web"]
    program.env = {"DATABASE_URL": database_url()}
    program.start()
    wait_for(lambda: listens(port))
    yield f"127.0.0.1:{port}"
    program.stop(grace=0)


@pytest.fixture
def server(transactional_db: None, web_server: str) -> str:
    """A web server; its host and port."""
    return web_server


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_user("eve")


@pytest.fixture
def staff(db: None) -> User:
    return User.objects.create_superuser("root")


@cache
def _handler() -> ClientHandler:
    """The site's middleware, built once: static files are looked for each time, which takes a while."""
    handler = ClientHandler(enforce_csrf_checks=False)
    handler.load_middleware()
    return handler


def client_of(user: User | None) -> Client:
    client = Client()
    client.handler = copy(_handler())
    if user:
        client.force_login(user)
    return client


def session_cookie(user: User | None) -> str:
    """The Cookie header of somebody who has signed in."""
    return "; ".join(f"{key}={morsel.value}" for key, morsel in client_of(user).cookies.items())


@pytest.fixture
def make_batch(user: User, tmp_path: Path) -> Callable[..., Batch]:
    """A batch of drawn cards, or of given files, as a user hands it over."""

    def make(pages: int = 2, *, files: list[Path] | None = None, **options: Any) -> Batch:
        paths = files if files is not None else write_scans(tmp_path / "scans", pages)
        uploads = [LocalFile(path, path.name) for path in paths]
        return services.create_batch(options.pop("owner", user), "Box 12", uploads, ocr.Options(**options))

    return make


@pytest.fixture
def shim(tmp_path: Path) -> Callable[[str], Path]:
    """A folder with a `tesseract` that does what the given shell script says; $REAL is the real one."""

    def write(script: str) -> Path:
        folder = tmp_path / "shim"
        folder.mkdir()
        real = shutil.which("tesseract")
        (folder / "tesseract").write_text(
            f'#!/bin/sh\nREAL={real}\ncase "$1" in --*) exec $REAL "$@" ;; esac\n{script}\n'
        )
        (folder / "tesseract").chmod(0o755)
        return folder

    return write


def prepare_next() -> None:
    """What a worker does first with a batch, and nothing more."""
    batch = Batch.objects.claim_preparation()
    assert batch
    tasks.prepare(batch)


def types(batch: Batch) -> list[str]:
    """The events of a batch, in order."""
    return [event.type for event in batch.events.all()]


def ended(batch: Batch) -> bool:
    batch.refresh_from_db()
    return batch.has_ended


def check_invariants(batch: Batch) -> None:
    """What holds of every ended batch, whatever happened to it."""
    check_rows(batch)
    check_files(batch)


def check_rows(batch: Batch) -> None:
    """Each page in one end state, counters that add up, one terminal event a run, no hole in `seq`."""
    batch.refresh_from_db()
    assert batch.has_ended
    pages = batch.pages.all()
    by_status = {
        status: sum(page.status == status for page in pages)
        for status in ("succeeded", "failed", "cancelled")
    }
    assert by_status == {status: getattr(batch, status) for status in by_status}
    assert sum(by_status.values()) == batch.total == len(pages)
    events = list(batch.events.all())
    assert [event.seq for event in events] == list(range(1, batch.last_seq + 1))
    ends = [event.type.removeprefix("batch.") in Batch.ENDED for event in events]
    assert ends[-1], "the last event says that the batch has ended"
    for end, after in pairwise(zip(ends, events, strict=True)):
        assert not end[0] or after[1].type == "batch.retried", "one terminal event a run"
    assert events[-1].type == f"batch.{batch.status}"


def check_files(batch: Batch) -> None:
    """No file without an owner, and no process: of the batch, and of the attempts at its pages."""
    wait_for(lambda: not list(settings.TMP_DIR.glob("page-*")), 20)
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if reads_a_page(path)]
    owned = {file.path for file in batch.files.all()}
    for page in batch.pages.all():
        owned |= {page.image_path}
        if page.status == Page.Status.SUCCEEDED:
            owned |= {page.words_path(page.attempt)}
            assert page.words_path(page.attempt).exists()
    owned |= {trial.image_path for trial in batch.trials.all()}
    there = {path for path in batch.folder.rglob("*") if path.is_file()}
    assert there <= owned, f"nobody owns {there - owned}"


def reads_a_page(cmdline: Path) -> bool:
    try:
        return f"{settings.TMP_DIR}/page-".encode() in cmdline.read_bytes()
    except OSError:  # gone by now
        return False
