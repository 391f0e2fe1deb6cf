"""The live socket of one batch: a snapshot, then every event in order, without a hole.

Broadcasts are only a doorbell. What arrives in order is passed on; a hole, or a message that never came,
is filled from the database, where the consumer also looks on a timer.
"""

import asyncio
import logging
import random
import time
from collections import deque
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from batches.events import Event, Snapshot, events_after, group_name, snapshot
from batches.models import Batch

logger = logging.getLogger(__name__)

NOT_SIGNED_IN = 4401
NOT_FOUND = 4404
TRY_AGAIN = 1011

FRAMES_PER_SECOND = 4
EVENTS_PER_FRAME = 200
LOOK_EVERY = 5.0  # seconds until a lost message is noticed
BEAT_EVERY = 15.0  # seconds of silence before an empty frame shows that the line is alive
EARLY_AT_MOST = 500  # events kept that came before their turn; beyond it the database has them


class BatchConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """`/ws/batches/<id>/?after=<seq>`: one snapshot, then frames of events with seq above `after`.

    Closes with 4401 where nobody is signed in, and 4404 where the batch is not this user's to see.
    """

    async def connect(self) -> None:
        await self.accept()  # a close code reaches a browser only over an open socket
        if not self.scope["user"].is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        self.batch_id = self.scope["url_route"]["kwargs"]["batch_id"]
        # Join first, read second: no event can fall between the two.
        await self.channel_layer.group_add(group_name(self.batch_id), self.channel_name)
        state = await self._snapshot()
        if state is None:
            await self.close(NOT_FOUND)
            return
        self.sent = min(self._after(default=state["seq"]), state["seq"])
        self.known = state["seq"]
        self.early: dict[int, Event] = {}
        self.bell = asyncio.Event()
        self.sent_at: deque[float] = deque(maxlen=FRAMES_PER_SECOND)
        await self.send_json(state)
        self.sender = asyncio.create_task(self._send_or_close())

    async def disconnect(self, code: int) -> None:
        if sender := getattr(self, "sender", None):
            sender.cancel()
            await asyncio.wait([sender])
        if batch_id := getattr(self, "batch_id", None):
            await self.channel_layer.group_discard(group_name(batch_id), self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Nothing that a browser says here means anything."""

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """Nor need it be JSON."""

    async def batch_events(self, message: dict[str, Any]) -> None:
        """The group's message: events that have been saved, or only how far they go."""
        if not hasattr(self, "bell"):
            return  # refused, and closing
        self.known = max(self.known, message["seq"])
        if len(self.early) < EARLY_AT_MOST:
            self.early |= {event["seq"]: event for event in message["events"]}
        self.bell.set()

    # -------------------------------------------------------------- sending

    async def _send_or_close(self) -> None:
        """A socket that can send no more says so, and the browser comes again."""
        try:
            await self._send_events()
        except Exception:
            logger.exception("The socket of batch %s is closed", self.batch_id)
            await self.close(TRY_AGAIN)

    async def _send_events(self) -> None:
        """Send what follows `sent`, for as long as the socket is open."""
        beat = time.monotonic()
        while True:
            while events := await self._next_events():
                await self._send_frame(events)
                self.sent = events[-1]["seq"]
                beat = time.monotonic()
            if time.monotonic() - beat > BEAT_EVERY:
                await self._send_frame([])
                beat = time.monotonic()
            # Not all sockets at the same moment: after a restart they would stay in step for ever.
            with suppress(TimeoutError):
                await asyncio.wait_for(self.bell.wait(), LOOK_EVERY * random.uniform(0.8, 1.2))
            rung = self.bell.is_set()
            self.bell.clear()  # before looking: a bell that rings meanwhile is for the next round
            if not rung:
                state = await self._snapshot()
                if state is None:  # deleted, or no longer this user's to see
                    await self.close(NOT_FOUND)
                    return
                self.known = max(self.known, state["seq"])

    async def _next_events(self) -> list[Event]:
        """The events due next: from what arrived, or from the database where there is a hole."""
        ready: list[Event] = []
        while event := self.early.pop(self.sent + 1 + len(ready), None):
            ready.append(event)
        if not ready and self.known > self.sent:
            ready = await self._saved_events()
        self.early = {seq: event for seq, event in self.early.items() if seq > self.sent + len(ready)}
        return ready

    async def _send_frame(self, events: list[Event]) -> None:
        """One frame, at once unless four have gone out within the last second."""
        if len(self.sent_at) == FRAMES_PER_SECOND:
            await asyncio.sleep(max(0.0, self.sent_at[0] + 1 - time.monotonic()))
        self.sent_at.append(time.monotonic())
        await self.send_json({"type": "events", "events": events})

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
