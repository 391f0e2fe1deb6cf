"""The product, started on a folder of its own, and a batch followed from submit to its last event."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import django
from websockets.sync.client import connect
from websockets.typing import Origin

from batches.ocr import Options
from benchmarks.pages import Drawn, check

PROJECT = Path(__file__).parent.parent
NAMED = set(re.findall(r"^(\w+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE))


@dataclass
class Run:
    """What one batch took: seconds from submit to the last event, and each page event's way to us in ms.

    `texts`: what was read, by the page's number. `failures`: what the batch and its pages told of them. `stages`:
    mean seconds a page, as the product measured them itself.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Serving:
    """A running `manage.py serve`: its port, its process, and the environment it was given."""

    port: int
    pid: int
    environment: dict[str, str]


@contextmanager
def serving(**settings: str) -> Iterator[Serving]:
    """The product in a temporary folder, ready; `settings` are of those in `.env.example`.

    An operator's own .env has no say in it. Raises ValueError for a setting that there is not.
    """
    if unknown := settings.keys() - NAMED:
        raise ValueError(f"there is no setting {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="ocr-bench-") as folder:
        environment = dict.fromkeys(NAMED, "") | {
            "DATA_DIR": folder,
            "SECRET_KEY": "bench",
            "HTTPS": "false",
            "LOG_LEVEL": "WARNING",
            "RECOGNISED_BYTES": "0",  # the same pages are read again and again
            "DJANGO_SETTINGS_MODULE": "ocrsite.settings",
            **settings,
        }
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        with (Path(folder) / "serve.log").open("wb") as log:
            command = [sys.executable, "manage.py", "serve", "--port", str(port)]
            process = subprocess.Popen(
                command, cwd=PROJECT, env=os.environ | environment, stdout=log, stderr=log
            )
        try:
            _wait_until_ready(port)
            yield Serving(port, process.pid, environment)
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except (HTTPError, OSError):
            time.sleep(0.2)
    raise TimeoutError("the product did not become ready")


def set_up(environment: dict[str, str]) -> None:
    """Django in this process, on the folder of the product that has this environment. Once a process."""
    os.environ |= environment
    django.setup()


@contextmanager
def running(**settings: str) -> Iterator[int]:
    """The product, ready; its port. Django is set up here on the same folder."""
    with serving(**settings) as product:
        set_up(product.environment)
        yield product.port


# ------------------------------------------------------------------ several in one run


class Product:
    """One of several that run beside each other: a process of its own hands over its batches and follows them."""

    def __init__(self, serving: Serving, client: ProcessPoolExecutor, name: str) -> None:
        self.pid, self.name = serving.pid, name
        self._port, self._client = serving.port, client

    def read(self, pages: list[Drawn], options: Options) -> Run:
        """The pages as one batch. Raises ValueError unless every page was read."""
        paths = [page.path for page in pages]
        run = self._client.submit(read_batch, self._port, paths, options).result()
        if run.failures:
            raise ValueError(f"{self.name}: {run.failures[0]}")
        check(pages, run.texts, self.name)
        return run


@contextmanager
def product(name: str, **settings: str) -> Iterator[Product]:
    """The product, ready, with these settings; `name` is for messages."""
    with serving(**settings) as started:
        client = ProcessPoolExecutor(1, get_context("spawn"), set_up, (started.environment,))
        with client:
            yield Product(started, client, name)


# ------------------------------------------------------------------ one batch


def read_batch(port: int, paths: list[Path], options: Options) -> Run:
    """Hand over the files and follow the batch over its socket until it has ended."""
    from django.contrib.auth.models import User
    from django.test import Client

    from batches.services import LocalFile, create_batch

    user, _ = User.objects.get_or_create(username="bench", is_staff=True)
    client = Client()
    client.force_login(user)
    cookie = f"sessionid={client.cookies['sessionid'].value}"

    run = Run()
    started = time.monotonic()
    batch = create_batch(user, "bench", [LocalFile(path, path.name) for path in paths], options)
    url = f"ws://127.0.0.1:{port}/ws/batches/{batch.pk}/?after=0"
    with connect(url, origin=Origin(f"http://127.0.0.1:{port}"), additional_headers={"Cookie": cookie}) as ws:
        while not run.seconds:
            _take(json.loads(ws.recv(300)).get("events", []), run, started)
    run.stages = batch.pages.mean_seconds()
    run.texts = list(batch.pages.order_by("number").values_list("text", flat=True))
    return run


def _take(events: list[dict[str, Any]], run: Run, started: float) -> None:
    now = datetime.now(UTC)
    for event in events:
        about = event["page"] if event["type"].startswith("page.") else event["batch"]
        if about is event.get("page"):
            run.latencies.append(_age(event, now))
        if about["error"]:
            run.failures.append(f"{event['type']} {about['error']}")
        if event["type"] in ("batch.completed", "batch.failed"):
            run.seconds = time.monotonic() - started


def _age(event: dict[str, Any], now: datetime) -> float:
    """Milliseconds from the event's time (taken just before its commit) to now."""
    return (now - datetime.fromisoformat(event["at"])).total_seconds() * 1000
