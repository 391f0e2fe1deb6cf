"""The socket of a batch, against the real channel layer."""

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DatabaseError, transaction

from batches import consumers, events
from batches.models import Batch
from ocrsite.asgi import application
from tests.conftest import session_cookie

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(user) -> Batch:
    return Batch.objects.create(name="Box", owner=user, options={}, total=900)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(consumers, "LOOK_EVERY", 0.3)
    monkeypatch.setattr(consumers, "BEAT_EVERY", 0.5)


def save_events(batch: Batch, n: int) -> None:
    """Events that are saved, with a broadcast that everybody hears."""
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        events.publish(locked, *(events.change(locked, "page.succeeded") for _ in range(n)))


def save_unheard(batch: Batch, n: int, monkeypatch) -> None:
    """Events whose broadcast is lost."""
    with monkeypatch.context() as patch:
        patch.setattr(events, "_broadcast", lambda *args: None)
        save_events(batch, n)


async def save_slowly(batch: Batch, n: int) -> None:
    """An event every 50 ms: far more often than frames may come."""
    for _ in range(n):
        await database_sync_to_async(save_events)(batch, 1)
        await asyncio.sleep(0.05)


class Socket:
    """A browser's end."""

    def __init__(
        self, batch_id: Any, user: Any, *, query: str = "", origin: str = "http://testserver"
    ) -> None:
        self.path = f"/ws/batches/{batch_id}/{query}"
        self.user, self.origin = user, origin

    async def connect(self) -> bool:
        cookie = await database_sync_to_async(session_cookie)(self.user)
        headers = {b"cookie": cookie, b"origin": self.origin, b"host": "testserver"}
        encoded = [(name, value.encode()) for name, value in headers.items()]
        self.line = WebsocketCommunicator(application, self.path, headers=encoded)
        connected, _ = await self.line.connect(timeout=5)
        return bool(connected)

    async def __aenter__(self) -> "Socket":
        assert await self.connect()
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.line.disconnect()

    async def frame(self) -> Any:
        return json.loads(await self.line.receive_from(timeout=5))

    async def seqs(self, last: int) -> list[int]:
        """The numbers of the events that come, up to `last`."""
        seqs: list[int] = []
        while not seqs or seqs[-1] < last:
            seqs += [event["seq"] for event in (await self.frame())["events"]]
        return seqs


async def test_a_snapshot_comes_first_and_then_each_event(batch, user):
    await database_sync_to_async(save_events)(batch, 3)
    async with Socket(batch.pk, user) as socket:
        frame = await socket.frame()
        assert (frame["type"], frame["seq"], frame["batch"]["name"]) == ("snapshot", 3, "Box")
        await database_sync_to_async(save_events)(batch, 2)
        assert await socket.seqs(5) == [4, 5]


async def test_replay_from_the_middle(batch, user):
    await database_sync_to_async(save_events)(batch, 10)
    async with Socket(batch.pk, user, query="?after=6") as socket:
        assert (await socket.frame())["seq"] == 10
        assert await socket.seqs(10) == [7, 8, 9, 10]


async def test_a_long_replay_comes_in_pieces_and_whole(batch, user):
    await database_sync_to_async(save_events)(batch, 450)
    async with Socket(batch.pk, user, query="?after=0") as socket:
        await socket.frame()
        assert len((await socket.frame())["events"]) == consumers.EVENTS_PER_FRAME
        assert await socket.seqs(450) == list(range(201, 451))


@pytest.mark.parametrize("after", ["99", "-1", "x", "", "9" * 30, "%C2%B2"])
async def test_a_number_that_cannot_be_means_from_now_on(batch, user, after):
    await database_sync_to_async(save_events)(batch, 2)
    async with Socket(batch.pk, user, query=f"?after={after}") as socket:
        await socket.frame()
        await database_sync_to_async(save_events)(batch, 1)
        assert await socket.seqs(3) == [3]


async def test_a_message_that_comes_twice_is_told_once(batch, user):
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        await database_sync_to_async(save_events)(batch, 1)
        told = await database_sync_to_async(events.events_after)(batch.pk, 0, 10)
        for _ in range(3):
            await database_sync_to_async(events._broadcast)(batch.pk, 1, told)
        await database_sync_to_async(save_events)(batch, 1)
        assert await socket.seqs(2) == [1, 2]


async def test_a_hole_is_filled_from_the_database(batch, user, monkeypatch):
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        await database_sync_to_async(save_unheard)(batch, 3, monkeypatch)
        await database_sync_to_async(save_events)(batch, 1)
        assert await socket.seqs(4) == [1, 2, 3, 4]


async def test_even_the_last_message_may_be_lost(batch, user, monkeypatch):
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        await database_sync_to_async(save_unheard)(batch, 2, monkeypatch)
        assert await socket.seqs(2) == [1, 2]


async def test_messages_out_of_order_are_told_in_order(batch, user, monkeypatch):
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        await database_sync_to_async(save_unheard)(batch, 3, monkeypatch)
        one, two, three = await database_sync_to_async(events.events_after)(batch.pk, 0, 10)
        for event in (three, one, two):
            await database_sync_to_async(events._broadcast)(batch.pk, event["seq"], [event])
        assert await socket.seqs(3) == [1, 2, 3]


async def test_fast_events_ride_together(batch, user):
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        saving = asyncio.create_task(save_slowly(batch, 40))
        times: list[float] = []
        seqs: list[int] = []
        while not seqs or seqs[-1] < 40:
            seqs += [event["seq"] for event in (await socket.frame())["events"]]
            times.append(time.monotonic())
        assert seqs == list(range(1, 41))
        spans = [fifth - first for first, fifth in zip(times, times[4:], strict=False)]
        assert spans
        assert all(span > 0.8 for span in spans), spans  # never a fifth frame within the second
        await saving


async def test_silence_is_broken_by_an_empty_frame(batch, user):
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        assert await socket.frame() == {"type": "events", "events": []}


async def test_what_a_browser_says_is_ignored(batch, user):
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        await socket.line.send_to(text_data="no json at all")
        await database_sync_to_async(save_events)(batch, 1)
        assert await socket.seqs(1) == [1]


async def _close_code(socket: Socket) -> int:
    async with socket:
        message = await socket.line.receive_output(timeout=5)
        assert message["type"] == "websocket.close"
        return int(message["code"])


async def test_an_unknown_batch_is_not_found(user):
    assert await _close_code(Socket(uuid4(), user)) == 4404


async def test_a_batch_that_is_deleted_closes_its_sockets(batch, user):
    socket = Socket(batch.pk, user)
    async with socket:
        await socket.frame()
        await database_sync_to_async(Batch.objects.all().delete)()
        while (message := await socket.line.receive_output(timeout=5))["type"] != "websocket.close":
            pass
        assert message["code"] == 4404


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
async def test_another_sites_page_gets_no_socket(batch, user, origin):
    assert not await Socket(batch.pk, user, origin=origin).connect()


async def _code(socket: Socket) -> int:
    """The code that an open socket is closed with, whatever comes before."""
    while (message := await socket.line.receive_output(timeout=5))["type"] != "websocket.close":
        pass
    return int(message["code"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda user: Session.objects.all().delete(), 4401),
        (lambda user: User.objects.filter(pk=user.pk).update(is_active=False), 4401),
        (lambda user: user.set_password("another") or user.save(), 4401),
        (lambda user: user.delete(), 4401),
        (lambda user: User.objects.filter(pk=user.pk).update(is_staff=False), 4404),
    ],
    ids=["signed out", "shut out", "another password", "removed", "no longer staff"],
)
async def test_somebody_who_may_no_longer_watch_is_shown_out(batch, staff, monkeypatch, change, code):
    """Also while events keep coming, so that there is never a quiet moment to look."""
    monkeypatch.setattr(consumers, "CHECK_EVERY", 0.5)
    async with Socket(batch.pk, staff) as socket:
        await socket.frame()
        await database_sync_to_async(change)(staff)
        saving = asyncio.create_task(save_slowly(batch, 20))
        assert await _code(socket) == code
        await saving


async def test_the_same_user_may_watch_on(batch, user, monkeypatch):
    monkeypatch.setattr(consumers, "CHECK_EVERY", 0.05)
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        await asyncio.sleep(0.3)
        await database_sync_to_async(save_events)(batch, 1)
        assert await socket.seqs(1) == [1]


async def test_a_user_has_so_many_sockets_and_no_more(batch, user, other, settings):
    settings.MAX_SOCKETS_PER_USER = 2
    async with Socket(batch.pk, user) as first:
        await first.frame()
        async with Socket(batch.pk, user):
            assert await _close_code(Socket(batch.pk, user)) == 4429
            assert await _close_code(Socket(batch.pk, other)) == 4404  # counted for each by himself
        async with Socket(batch.pk, user) as third:  # one was closed, so there is room again
            assert (await third.frame())["type"] == "snapshot"
    assert not consumers.open_sockets


async def test_a_socket_that_fails_to_open_is_not_counted(batch, user, monkeypatch):
    def broken(*args: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(consumers, "snapshot", broken)
    socket = Socket(batch.pk, user)
    await socket.connect()
    with pytest.raises(DatabaseError):
        await socket.line.wait()
    assert not consumers.open_sockets


@pytest.mark.parametrize("words", [["x" * 2000], ["x"] * 60], ids=["long", "often"])
async def test_who_says_too_much_is_shown_out(batch, user, words):
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        for word in words:
            await socket.line.send_to(text_data=word)
        assert await _code(socket) == 4413


async def test_a_frame_that_is_not_taken_ends_the_socket(batch, user, monkeypatch):
    monkeypatch.setattr(consumers, "TAKEN_WITHIN", 0.2)
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        monkeypatch.setattr(consumers.BatchConsumer, "send_json", lambda *args: asyncio.sleep(60))
        await database_sync_to_async(save_events)(batch, 1)
        assert await _code(socket) == 4408


async def test_a_socket_that_can_send_no_more_says_so(batch, user, monkeypatch, caplog):
    async with Socket(batch.pk, user) as socket:
        await socket.frame()
        monkeypatch.setattr(consumers, "events_after", lambda *args: 1 / 0)
        await database_sync_to_async(save_unheard)(batch, 1, monkeypatch)
        assert await _code(socket) == 4503
    assert "is closed" in caplog.text
