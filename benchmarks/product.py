"""The product, started on a folder of its own, and a batch followed from submit to its last event."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import django
from websockets.sync.client import connect
from websockets.typing import Origin

PROJECT = Path(__file__).parent.parent


@dataclass
class Run:
    """What one batch took: seconds from submit to the last event, and each page event's way to us in ms."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)


@contextmanager
def running() -> Iterator[int]:
    """`manage.py serve` in a temporary folder, ready; its port. Django is set up on the same folder."""
    with tempfile.TemporaryDirectory(prefix="ocr-bench-") as folder:
        os.environ |= {
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "DATA_DIR": folder,
            "SECRET_KEY": "bench",
            "HTTPS": "false",
            "LOG_LEVEL": "WARNING",
            "RECOGNISED_BYTES": "0",  # each round reads the same pages
        }
        os.environ["DJANGO_SETTINGS_MODULE"] = "ocrsite.settings"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        with (Path(folder) / "serve.log").open("wb") as log:
            command = [sys.executable, "manage.py", "serve", "--port", str(port)]
            process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log)
        try:
            _wait_until_ready(port)
            django.setup()
            yield port
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


def read_batch(port: int, paths: list[Path]) -> Run:
    """Hand over the files and follow the batch over its socket until it has ended."""
    from django.contrib.auth.models import User
    from django.test import Client

    from batches.ocr import Options
    from batches.services import LocalFile, create_batch

    user, _ = User.objects.get_or_create(username="bench", is_staff=True)
    client = Client()
    client.force_login(user)
    cookie = f"sessionid={client.cookies['sessionid'].value}"

    run = Run()
    started = time.monotonic()
    batch = create_batch(user, "bench", [LocalFile(path, path.name) for path in paths], Options())
    url = f"ws://127.0.0.1:{port}/ws/batches/{batch.pk}/?after=0"
    with connect(url, origin=Origin(f"http://127.0.0.1:{port}"), additional_headers={"Cookie": cookie}) as ws:
        while True:
            frame = json.loads(ws.recv(300))
            now = datetime.now(UTC)
            for event in frame.get("events", []):
                run.latencies += [_age(event, now)] if event["type"].startswith("page.") else []
                if event["type"] == "batch.completed":
                    run.seconds = time.monotonic() - started
                    return run


def _age(event: dict[str, Any], now: datetime) -> float:
    """Milliseconds from the event's time (taken just before its commit) to now."""
    return (now - datetime.fromisoformat(event["at"])).total_seconds() * 1000
