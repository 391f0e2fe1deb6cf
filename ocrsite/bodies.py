"""How much a request may bring: judged by its headers, before the body fills the disk.

Daphne takes in a whole body before it calls the application, whoever sends it. So the limits stand where
the body arrives: in the request that Daphne has Twisted fill. A large body is only read on for somebody
who is signed in, and never beyond MAX_BODY_BYTES.
"""

import asyncio
import logging
from tempfile import SpooledTemporaryFile
from typing import Any

import daphne.http_protocol
from channels.db import database_sync_to_async
from csp.utils import build_policy
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, parse_cookie
from django.template.loader import render_to_string

logger = logging.getLogger(__name__)

UNASKED_BYTES = 100_000  # what anybody may send, such as the form to sign in; kept in memory
LINGER = 10.0  # seconds for a browser that still sends to take note of the answer, which it reads afterwards
REASONS = {
    403: b"Forbidden",
    413: b"Content Too Large",
    503: b"Service Unavailable",
    507: b"Insufficient Storage",
}


class BoundedRequest(daphne.http_protocol.WebRequest):  # type: ignore[misc]
    """A request whose body is refused while it comes: 413 too large, 403 not signed in, 507 disk full.

    What was refused is not kept, and the connection ends.
    """

    asking: "asyncio.Task[None] | None" = None
    complete = False
    refused = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Twisted would read every upload into memory to parse its form, which Django parses.
        super().__init__(*args, **kwargs, parsePOSTFormSubmission=False)

    # Twisted's names, called by its channel.

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """The headers are there; `length` is None where the body comes in chunks."""
        self.content: Any = SpooledTemporaryFile(UNASKED_BYTES, dir=str(settings.TMP_DIR))  # noqa: SIM115
        self._weigh(length or 0)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """A piece of the body."""
        if self.refused:
            return
        self._weigh(self.content.tell() + len(data))
        if self.refused:
            return
        try:
            self.content.write(data)
        except OSError:
            logger.exception("An upload could not be kept")
            self._refuse(507)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """The body is there."""
        self.complete = True
        if self.refused:
            self.channel.transport.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def _limit(self) -> int:
        """Only the form takes all at once; elsewhere a piece of an upload is the most there is."""
        path: bytes = self.channel._path
        takes_all = path.split(b"?")[0] == b"/batches/new/"
        return (
            settings.MAX_BODY_BYTES
            if takes_all
            else min(settings.MAX_BODY_BYTES, 2 * settings.UPLOAD_PIECE_BYTES)
        )

    def _weigh(self, size: int) -> None:
        """Refuse what is too large, and ask who sends it where that matters."""
        if size > self._limit():
            self._refuse(413)
        elif size > UNASKED_BYTES and self.asking is None:
            self.channel._networkProducer.pauseProducing()
            self.asking = asyncio.ensure_future(self._ask())

    async def _ask(self) -> None:
        """Read on if the sender is signed in."""
        cookies = b"; ".join(self.requestHeaders.getRawHeaders(b"Cookie", [])).decode("latin-1")
        try:
            verdict = 0 if await _signed_in(cookies) else 403
        except Exception:
            logger.exception("Nobody can be asked who sends this upload")
            verdict = 503
        if self._disconnected or self.complete:
            return
        if verdict:
            self._refuse(verdict)
        self.channel._networkProducer.resumeProducing()

    def _refuse(self, status: int) -> None:
        """Answer at once. What still comes is thrown away for a while: a browser reads only when it has sent."""
        self.refused = status
        self.content.close()
        self.requestHeaders.removeHeader(b"Expect")  # else Twisted would ask for the body after all
        transport = self.channel.transport
        transport.write(_refusal(status))
        self.channel.factory.reactor.callLater(LINGER, transport.abortConnection)


@database_sync_to_async  # type: ignore[untyped-decorator]
def _signed_in(cookies: str) -> bool:
    """Whether these cookies are those of somebody who is signed in."""
    request = HttpRequest()
    request.session = SessionStore(parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME))
    return get_user(request).is_authenticated


def _refusal(status: int) -> bytes:
    """The whole answer, headers and page."""
    context = {"status": status, "limit": settings.MAX_BODY_BYTES}
    page = render_to_string("refused.html", context).encode()
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": len(page),
        "Content-Security-Policy": build_policy(),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, REASONS[status], lines, page)


def install() -> None:
    """Have Daphne use it: its factory looks the class up by this name for each connection."""
    daphne.http_protocol.WebRequest = BoundedRequest
