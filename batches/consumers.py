"""The live socket of one batch: a snapshot, then every event in order, without a hole.

Broadcasts are only a doorbell. What arrives in order is passed on; a hole, or a message that never came,
is filled from the database, where the consumer also looks on a timer.
"""

import asyncio
import json
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings

from batches.events import Event, Snapshot, events_after, group_name, snapshot
from batches.models import Batch

logger = logging.getLogger(__name__)

# Why a socket is closed. Private codes: Daphne can send none of the registered ones but 1000.
NOT_SIGNED_IN = 4401
NOT_FOUND = 4404
TOO_SLOW = 4408
TOO_TALKATIVE = 4413
TOO_MANY = 4429
TRY_AGAIN = 4503

FRAMES_PER_SECOND = 4
EVENTS_PER_FRAME = 200  # of 3 kB each with the longest names: autobahn refuses to send more than 1 MB
LOOK_EVERY = 5.0  # seconds until a lost message is noticed
BEAT_EVERY = 15.0  # seconds of silence before an empty frame shows that the line is alive
CHECK_EVERY = 45.0  # seconds until somebody who may no longer watch is noticed
TAKEN_WITHIN = 30.0  # seconds that a client has to take one frame
EARLY_AT_MOST = 500  # events kept that came before their turn; beyond it the database has them
HEARD_BYTES = 1024  # of one message; a client has nothing to say here
HEARD_PER_MINUTE = 60

# By user, in this process: a crash takes the count along with the sockets.
open_sockets: Counter[int | None] = Counter()


@contextmanager
def _counted(user: int | None) -> Iterator[None]:
    open_sockets[user] += 1
    try:
        yield
    finally:
        open_sockets[user] -= 1
        if not open_sockets[user]:
            del open_sockets[user]


class BatchConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """`/ws/batches/<id>/?after=<seq>`: one snapshot, then frames of events with seq above `after`.

    Closes with 4401 where nobody is signed in, 4404 where the batch is not this user's to see, 4429 where
    the user has too many sockets, 4408 where frames are not read, 4413 where much is said, and 4503 where
    something went wrong. After the last three the client may come again at once, with its last `seq`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.early: dict[int, Event] = {}
        self.bell = asyncio.Event()
        self.sent = self.known = 0
        self.sent_at: deque[float] = deque(maxlen=FRAMES_PER_SECOND)
        self.heard_at: deque[float] = deque(maxlen=HEARD_PER_MINUTE)
        self.tasks: list[asyncio.Task[None]] = []
        self.ended = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the socket, and leave nothing of it behind, however it ends."""
        self.batch_id = scope["url_route"]["kwargs"]["batch_id"]
        with _counted(scope["user"].pk):
            try:
                await super().__call__(scope, receive, send)
            finally:
                await self._leave()

    async def connect(self) -> None:
        await self.accept()  # a close code reaches a browser only over an open socket
        if not self.scope["user"].is_authenticated:
            return await self._end(NOT_SIGNED_IN)
        if open_sockets[self.scope["user"].pk] > settings.MAX_SOCKETS_PER_USER:
            return await self._end(TOO_MANY)
        # Join first, read second: no event can fall between the two.
        await self.channel_layer.group_add(group_name(self.batch_id), self.channel_name)
        state = await self._snapshot()
        if state is None:
            return await self._end(NOT_FOUND)
        self.sent = min(self._after(default=state["seq"]), state["seq"])
        self.known = state["seq"]
        await self.send_json(state)
        self.tasks = [asyncio.create_task(self._work(work)) for work in (self._send_events, self._guard)]

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        """Nothing that a browser says here means anything, and it need not be JSON; but it can be too much."""
        self.heard_at.append(time.monotonic())
        often = len(self.heard_at) == HEARD_PER_MINUTE and self.heard_at[-1] - self.heard_at[0] < 60
        if often or len(message.get("text") or message.get("bytes") or "") > HEARD_BYTES:
            await self._end(TOO_TALKATIVE)

    async def batch_events(self, message: dict[str, Any]) -> None:
        """The group's message: events that have been saved, or only how far they go."""
        self.known = max(self.known, message["seq"])
        if len(self.early) < EARLY_AT_MOST:
            self.early |= {event["seq"]: event for event in message["events"]}
        self.bell.set()

    # -------------------------------------------------------------- ending

    async def _work(self, work: Callable[[], Awaitable[int]]) -> None:
        """Do it until it answers the code to close with. A socket that can go on no more says so."""
        try:
            code = await work()
        except Exception:
            logger.exception("The socket of batch %s is closed", self.batch_id)
            code = TRY_AGAIN
        await self._end(code)

    async def _end(self, code: int) -> None:
        """Close the socket, once."""
        if self.ended:
            return
        self.ended = True
        for task in self.tasks:
            if task is not asyncio.current_task():
                task.cancel()
        await self.close(code)

    async def _leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        if hasattr(self, "channel_name"):
            with suppress(Exception):  # Redis may be away, and then there is nothing to leave
                await self.channel_layer.group_discard(group_name(self.batch_id), self.channel_name)

    async def _guard(self) -> int:
        """Wait until the user may no longer watch: signed out, shut out, or the batch deleted."""
        sessions = import_module(settings.SESSION_ENGINE).SessionStore
        while True:
            await asyncio.sleep(CHECK_EVERY * random.uniform(0.8, 1.2))
            # The scope's own session and user are as they were when the socket was opened.
            self.scope["user"] = await get_user({"session": sessions(self.scope["session"].session_key)})
            if not self.scope["user"].is_authenticated:
                return NOT_SIGNED_IN
            if await self._snapshot() is None:
                return NOT_FOUND

    # -------------------------------------------------------------- sending

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        """As it is: escaped, a name in another script would be twice as long."""
        return json.dumps(content, ensure_ascii=False)

    async def _send_events(self) -> int:
        """Send what follows `sent`, for as long as the socket is open."""
        beat = time.monotonic()
        while True:
            while events := await self._next_events():
                if not await self._send_frame(events):
                    return TOO_SLOW
                self.sent = events[-1]["seq"]
                beat = time.monotonic()
            if time.monotonic() - beat > BEAT_EVERY:
                if not await self._send_frame([]):
                    return TOO_SLOW
                beat = time.monotonic()
            if not await self._look():
                return NOT_FOUND

    async def _look(self) -> bool:
        """Wait for the bell, or look in the database. False: deleted, or no longer this user's to see."""
        # Not all sockets at the same moment: after a restart they would stay in step for ever.
        with suppress(TimeoutError):
            await asyncio.wait_for(self.bell.wait(), LOOK_EVERY * random.uniform(0.8, 1.2))
        rung = self.bell.is_set()
        self.bell.clear()  # before looking: a bell that rings meanwhile is for the next round
        if not rung:
            state = await self._snapshot()
            if state is None:
                return False
            self.known = max(self.known, state["seq"])
        return True

    async def _next_events(self) -> list[Event]:
        """The events due next: from what arrived, or from the database where there is a hole."""
        ready: list[Event] = []
        while len(ready) < EVENTS_PER_FRAME and (event := self.early.pop(self.sent + 1 + len(ready), None)):
            ready.append(event)
        if not ready and self.known > self.sent:
            ready = await self._saved_events()
        self.early = {seq: event for seq, event in self.early.items() if seq > self.sent + len(ready)}
        return ready

    async def _send_frame(self, events: list[Event]) -> bool:
        """One frame, at once unless four have gone out within the last second. False: it was not taken."""
        if len(self.sent_at) == FRAMES_PER_SECOND:
            await asyncio.sleep(max(0.0, self.sent_at[0] + 1 - time.monotonic()))
        self.sent_at.append(time.monotonic())
        try:
            async with asyncio.timeout(TAKEN_WITHIN):
                await self.send_json({"type": "events", "events": events})
        except TimeoutError:
            return False
        return True

    def _after(self, default: int) -> int:
        asked = parse_qs(self.scope["query_string"].decode("ascii", "replace")).get("after", [""])[0]
        return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else default

    # -------------------------------------------------------------- the one door to the database

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _snapshot(self) -> Snapshot | None:
        batch = Batch.objects.visible_to(self.scope["user"]).filter(pk=self.batch_id).first()
        return snapshot(batch) if batch else None

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _saved_events(self) -> list[Event]:
        return events_after(self.batch_id, self.sent, EVENTS_PER_FRAME)
