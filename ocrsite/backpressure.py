"""Lets what is sent over a socket wait for a client that reads slowly.

ASGI means `send` to wait while the client cannot take more. Daphne's does not: it hands each message to
Twisted and returns at once, and what the client has not read piles up in memory, without a bound.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from channels.middleware import BaseMiddleware
from daphne.ws_protocol import WebSocketProtocol

Send = Callable[[Any], Awaitable[None]]


class Tap:
    """Closed by Twisted while more than 64 kB wait for the client, and opened when they have gone out."""

    def __init__(self, transport: Any) -> None:
        self._is_open = asyncio.Event()
        self._is_open.set()
        transport.unregisterProducer()  # the HTTP request, which the socket has grown out of
        transport.registerProducer(self, True)

    async def wait(self) -> None:
        """Until the client can take more, or is gone."""
        await self._is_open.wait()

    def pauseProducing(self) -> None:  # noqa: N802, the three names are Twisted's
        self._is_open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._is_open.set()

    def stopProducing(self) -> None:  # noqa: N802
        self._is_open.set()


class WithBackpressure(BaseMiddleware):  # type: ignore[misc]
    """The application within, its `send` waiting until the client has taken what was sent.

    For Daphne's WebSockets. Other servers are left alone: theirs waits by itself.
    """

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        protocol = _daphne_protocol(send)
        if protocol is None:
            await self.inner(scope, receive, send)
            return
        tap = Tap(protocol.transport)

        async def send_and_wait(message: Any) -> None:
            await send(message)
            if message["type"] == "websocket.send":
                await tap.wait()

        await self.inner(scope, receive, send_and_wait)


def _daphne_protocol(send: Send) -> WebSocketProtocol | None:
    """The socket behind Daphne's `send`, which is a method of the server with the protocol filled in."""
    words = send.args if isinstance(send, partial) else ()
    return next((word for word in words if isinstance(word, WebSocketProtocol)), None)
