"""The way from code that may wait to the channel layer: an event loop in a thread, one a process.

`async_to_sync` makes a loop for each call, and with it a connection to Redis; this one keeps its own.
"""

import asyncio
import os
import threading
from typing import Any

from channels.layers import get_channel_layer

ANSWER_WITHIN = 5.0  # seconds; sockets look for themselves long before anybody notices

_starting = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process: a fork has none of its parent's threads


def ring(group: str, message: dict[str, Any]) -> None:
    """Send the message to the group. Raises what the layer's backend raises; TimeoutError if that hangs."""
    sending = get_channel_layer().group_send(group, message)
    asyncio.run_coroutine_threadsafe(sending, _loop()).result(ANSWER_WITHIN)


def _loop() -> asyncio.AbstractEventLoop:
    with _starting:
        if os.getpid() not in _loops:
            _loops[os.getpid()] = loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="doorbell", daemon=True).start()
        return _loops[os.getpid()]
