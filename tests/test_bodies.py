"""Request bodies, judged before they fill the disk: against the real web server."""

import http.client
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import client_of, listens, session_cookie, wait_for
from tests.postgres import free_port

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = 200_000_000
PIECE = b"x" * (1 << 18)


class Web:
    """A web server that takes so many bytes at once, and how much it has spooled."""

    most = 0  # bytes spooled at a time during the last POST

    def __init__(self, start: Any, limit: int) -> None:
        self.port = free_port()
        self.process = start("web", port=self.port, MAX_BODY_BYTES=str(limit)).process
        wait_for(lambda: listens(self.port))

    def spooled(self) -> int:
        """Bytes in files that it has open, those without a name too."""
        sizes = [0]
        for handle in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(OSError):
                if "/tmp/" in str(handle.readlink()):
                    sizes.append(handle.stat().st_size)
        return sum(sizes)

    def body(self, pieces: int, awaited: int) -> Iterator[bytes]:
        for number in range(1, pieces + 1):
            if number == pieces:
                wait_for(lambda: self.spooled() >= awaited)
            self.most = max(self.most, self.spooled())
            yield PIECE

    def post(self, size: int, *, chunked: bool, awaited: int = 0, **headers: str) -> tuple[int, str]:
        """The status and page that answer a POST of about so many bytes, pushed in whole if it is taken.

        Its last piece waits until as much as `awaited` has been spooled.
        """
        pieces = -(-size // len(PIECE))
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.most = 0
        if not chunked:
            headers["Content-Length"] = str(pieces * len(PIECE))
        with suppress(ConnectionError):  # it has answered, and takes no more
            line.request("POST", "/batches/new/", self.body(pieces, awaited), headers, encode_chunked=chunked)
        response = line.getresponse()
        page = response.read().decode()
        line.close()
        return response.status, page


@pytest.fixture
def web(start) -> Web:
    return Web(start, 5_000_000)


@pytest.mark.parametrize("cookie", ["", "sessionid=forged"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_strangers_upload_never_reaches_the_disk(start, chunked, cookie):
    web = Web(start, 10**9)
    started = time.monotonic()
    status, page = web.post(LARGE, chunked=chunked, Cookie=cookie)
    assert time.monotonic() - started < 10
    assert status == 403
    assert "You are not signed in" in page
    assert web.most < 1_000_000


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_is_too_large_is_told_so(web, user, chunked):
    status, page = web.post(LARGE, chunked=chunked, Cookie=session_cookie(user))
    assert status == 413
    assert "larger than the 4.8\xa0MB that this server takes at once" in page
    assert web.most < 6_000_000
    wait_for(lambda: web.spooled() < 1_000_000)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_within_the_limit_is_taken(web, user, chunked):
    client = client_of(user)
    token = client.get("/batches/new/").cookies["csrftoken"].value
    cookie = f"{session_cookie(user)}; csrftoken={token}"
    headers = {"Cookie": cookie, "X-CSRFToken": token}
    status, page = web.post(4_000_000, chunked=chunked, awaited=2_000_000, **headers)
    assert status == 200
    assert "New batch" in page
    assert web.most >= 2_000_000  # so what is measured above would be seen


def test_somebody_who_waits_to_be_asked_is_refused_at_once(web):
    """`Expect: 100-continue`, as curl sends it."""
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    line.putrequest("POST", "/batches/new/")
    line.putheader("Content-Length", str(LARGE))
    line.putheader("Expect", "100-continue")
    line.endheaders()
    assert line.getresponse().status == 413
    line.close()


def test_a_small_form_needs_no_session(web):
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    line.request("POST", "/accounts/login/", "username=a&password=b")
    assert line.getresponse().status == 403  # by Django: the form has no token
    line.close()
