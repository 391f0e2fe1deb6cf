"""Many sockets on a real web server: it is killed, its clients don't read, or talk too much, or Redis goes."""

import asyncio
import base64
import json
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from batches import events
from batches.models import Batch
from ocrsite.processes import procfile
from tests.conftest import database_url, listens, session_cookie, wait_for
from tests.postgres import free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(user) -> Batch:
    return Batch.objects.create(name="Box", owner=user, options={}, total=100_000)


class Web:
    """A web server on a port of its own, which can be killed and started again there."""

    def __init__(self) -> None:
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.patience: dict[str, float] = {}

    def start(self, **patience: float) -> None:
        """Start it, with other constants in `consumers` where some are given."""
        self.patience |= patience
        self.program = procfile(HOST="127.0.0.1", PORT=str(self.port), NODE="")["web"]
        self.program.argv[-1] = "tests.impatient:application"
        self.program.env = {
            "DATABASE_URL": database_url(),
            "MAX_SOCKETS_PER_USER": "500",
            "IMPATIENCE": json.dumps(self.patience),
        }
        self.program.start()
        wait_for(lambda: listens(self.port) or not self.program.alive)
        assert self.program.alive, self.program.log.read_text()[-2000:]

    def end(self, how: signal.Signals) -> None:
        assert self.program.process
        self.program.send(how)
        self.program.process.wait(20)

    def memory(self) -> float:
        """What the process holds in memory, in MB."""
        assert self.program.process
        status = Path(f"/proc/{self.program.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def headers(self, batch: Batch) -> dict[str, str]:
        return {"Cookie": session_cookie(batch.owner)}

    def url(self, batch: Batch, after: int = 0) -> str:
        return f"ws://{self.host}/ws/batches/{batch.pk}/?after={after}"

    def connect(self, batch: Batch, after: int = 0) -> ClientConnection:
        origin = Origin(f"http://{self.host}")
        return connect(self.url(batch, after), origin=origin, additional_headers=self.headers(batch))


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.program.stop(grace=0)


def save(batch: Batch, n: int = 1) -> None:
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        events.publish(locked, *(events.change(locked, "page.succeeded") for _ in range(n)))


def seqs_of(frames: ClientConnection, last: int) -> list[int]:
    """The numbers of the events that come, up to `last`."""
    seqs: list[int] = []
    while not seqs or seqs[-1] < last:
        seqs += [event["seq"] for event in json.loads(frames.recv(30)).get("events", [])]
    return seqs


# -------------------------------------------------------------- the server is killed


class Follower:
    """A client that comes again as connection.js does, and keeps the number of each event it was told."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.lines = 0  # how often it had a socket

    async def follow(self, web: Web, url: str, headers: dict[str, str], last: int) -> None:
        failures = 0
        while not self.seqs or self.seqs[-1] < last:
            after = self.seqs[-1] if self.seqs else 0
            with suppress(ConnectionClosed, InvalidHandshake, OSError, TimeoutError, EOFError):
                async with connect_async(
                    f"{url}{after}", origin=Origin(f"http://{web.host}"), additional_headers=headers
                ) as line:
                    self.lines += 1
                    while not self.seqs or self.seqs[-1] < last:
                        frame = json.loads(await line.recv())
                        failures = 0
                        self.seqs += [event["seq"] for event in frame.get("events", [])]
                    return
            failures += 1
            await asyncio.sleep(min(30, 0.5 * 2 ** (failures - 1)) * random.uniform(0.5, 1.5))


async def follow_all(clients: list[Follower], *args: Any) -> None:
    await asyncio.gather(*(client.follow(*args) for client in clients))


def test_two_hundred_sockets_outlive_their_server(web: Web, batch):
    """Asked to end, then killed, in mid batch: each client has every event once, and in order."""
    clients = [Follower() for _ in range(200)]
    args = (web, web.url(batch).removesuffix("0"), web.headers(batch), 120)
    following = threading.Thread(target=lambda: asyncio.run(follow_all(clients, *args)), daemon=True)
    following.start()
    for seq in range(1, 121):
        if seq in (1, 51, 91):
            web.start()
        save(batch)
        if how := {40: signal.SIGTERM, 80: signal.SIGKILL}.get(seq):
            wait_for(lambda: all(client.seqs[-1:] == [seq] for client in clients))  # noqa: B023
            web.end(how)
    following.join(60)
    assert [client.seqs for client in clients] == [list(range(1, 121))] * 200
    assert all(client.lines == 3 for client in clients)


# -------------------------------------------------------------- clients that don't read


def open_and_never_read(web: Web, batch: Batch, headers: dict[str, str]) -> socket.socket:
    """A client that asks for everything and then reads no byte of it."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    line.connect(("127.0.0.1", web.port))
    wanted = {
        "Host": web.host,
        "Origin": f"http://{web.host}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    } | headers
    lines = [f"GET /ws/batches/{batch.pk}/?after=0 HTTP/1.1", *(f"{k}: {v}" for k, v in wanted.items())]
    line.sendall("\r\n".join([*lines, "", ""]).encode())
    return line


def sockets_to(port: int) -> int:
    """Connections that the web server on this port holds."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def save_large(batch: Batch, n: int) -> None:
    """Events of 4 kB each."""
    Batch.objects.update(error_code="internal", error_message="x" * 4000)
    for _ in range(n // 500):
        save(batch, 500)


def seqs_read(line: socket.socket, last: int) -> list[int]:
    """Read on, frames and all, up to the event `last`: the numbers of all that came."""
    line.settimeout(30)
    read = bytearray()
    while f'"seq": {last}, "type"'.encode() not in read[-100_000:]:
        read += line.recv(1 << 16)
    return [int(seq) for seq in re.findall(rb'"seq": (\d+), "type"', read)]


def test_clients_that_do_not_read_cost_no_memory(web: Web, batch):
    """13 MB for each of 11: kept until they are read, it would be 140 MB. One begins to read in time."""
    web.start(TAKEN_WITHIN=4.0)
    save_large(batch, 3000)
    headers = web.headers(batch)
    before = most = web.memory()
    slow = [open_and_never_read(web, batch, headers) for _ in range(11)]
    started = time.monotonic()
    while time.monotonic() < started + 2:
        most = max(most, web.memory())
        time.sleep(0.1)
    late = slow.pop()
    assert seqs_read(late, 3000) == list(range(1, 3001))
    late.close()
    wait_for(lambda: not sockets_to(web.port), 20)  # the others are shown out
    assert max(most, web.memory()) - before < 60
    with web.connect(batch, after=2400) as back:  # one of them comes again
        assert seqs_of(back, 3000) == list(range(2401, 3001))
    for line in slow:
        line.close()


# -------------------------------------------------------------- clients that talk


def shout(line: ClientConnection, message: str) -> int:
    """Say it until the server has had enough; the code that it closes with."""
    with line, suppress(ConnectionClosed):
        for _ in range(1000):
            line.send(message)
    return line.close_code or 0


@pytest.mark.parametrize(("size", "code"), [(1_000_000, 4413), (3_000_000, 1009)])
def test_a_client_that_sends_megabytes_is_shown_out(web: Web, batch, size: int, code: int):
    web.start()
    before = web.memory()
    assert shout(web.connect(batch), "x" * size) in (
        code,
        1006,
    )  # which may be cut off by what was still sent
    assert web.memory() - before < 40


# -------------------------------------------------------------- Redis is away


def test_events_arrive_while_redis_is_away(web: Web, batch, redis_server):
    """From the database, where each socket looks by itself; and at once again when Redis is back."""
    web.start(LOOK_EVERY=2.0)
    with ExitStack() as opened:
        lines = [opened.enter_context(web.connect(batch)) for _ in range(5)]
        for line in lines:
            assert json.loads(line.recv(10))["type"] == "snapshot"
        redis_server.stop(grace=5)
        try:
            save(batch, 3)
            started = time.monotonic()
            assert [seqs_of(line, 3) for line in lines] == [[1, 2, 3]] * 5
            assert time.monotonic() - started < 10
        finally:
            redis_server.ensure()
        wait_for(lambda: heard_at_once(batch, lines), 30)


def heard_at_once(batch: Batch, lines: list[ClientConnection]) -> bool:
    """Whether three events running came so soon that nobody can have had to look for them."""
    for _ in range(3):
        started = time.monotonic()
        save(batch)
        batch.refresh_from_db()
        assert all(seqs_of(line, batch.last_seq)[-1] == batch.last_seq for line in lines)
        if time.monotonic() - started > 0.5:
            return False
        time.sleep(0.3)
    return True
