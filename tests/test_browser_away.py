"""Browsers that were away: offline, asleep, or on a line that died in silence. Time is jumped, not waited for."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from playwright.sync_api import Page, expect

from batches import events
from batches.models import Batch
from tests.browser import field, sign_in
from tests.conftest import listens, wait_for
from tests.postgres import free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(user: User) -> Batch:
    return Batch.objects.create(name="Box", owner=user, options={}, total=900, status="running")


def save(batch: Batch, n: int) -> None:
    """So many pages have been read. In a thread of its own: Playwright's loop is in the test's."""
    thread = threading.Thread(target=_save, args=(batch, n))
    thread.start()
    thread.join()


def _save(batch: Batch, n: int) -> None:
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        changes = []
        for _ in range(n):
            locked.count("succeeded")
            told = {"number": locked.succeeded, "filename": "a.png", "status": "succeeded"}
            told |= {"confidence": 90.0, "seconds": 1.0, "error": None}
            payload = events.change(locked, "page.succeeded").payload | {"page": told}
            changes.append(events.Change("page.succeeded", payload))
        events.publish(locked, *changes)
    connection.close()


def watch(page: Page) -> None:
    """Keep the number of each page in the order in which the live page adds its row."""
    page.evaluate(
        """() => {
            window.shown = [];
            const note = (changes) => changes.forEach((change) => change.addedNodes.forEach(
                (row) => shown.push(Number(row.dataset.key.replace("page:", "")))));
            new MutationObserver(note).observe(document.querySelector(".recent"), { childList: true });
        }"""
    )


def expect_all_shown(page: Page, last: int) -> None:
    """Each page's row came once, and in order."""
    wait_for(lambda: page.evaluate("shown.at(-1)") == last, 30)
    assert page.evaluate("shown") == list(range(1, last + 1))


def forget_network_errors(page: Page) -> None:
    """The browser's own complaints about a network that was meant to be away."""
    complaints: list[str] = page.complaints  # type: ignore[attr-defined]
    complaints[:] = [told for told in complaints if "net::ERR" not in told and "WebSocket" not in told]


def test_a_minute_offline(signed_in: Page, batch):
    page = signed_in
    page.clock.install()
    page.goto(batch.get_absolute_url())
    expect(field(page, "connection")).to_have_text("live")
    watch(page)
    save(batch, 3)
    expect(field(page, "count")).to_have_text("3 of 900")
    page.context.set_offline(True)
    expect(field(page, "connection")).to_have_text("reconnecting…")
    for _ in range(6):
        save(batch, 50)
        page.clock.run_for(10_000)
    expect(field(page, "connection")).to_have_text("reconnecting…")
    page.context.set_offline(False)
    page.clock.run_for(1000)
    expect(field(page, "connection")).to_have_text("live")
    expect(field(page, "count")).to_have_text("303 of 900")
    expect_all_shown(page, 303)
    forget_network_errors(page)


class Wire:
    """A way to the server that can go dead: nothing passes any more, and neither end is told."""

    def __init__(self, host: str) -> None:
        name, port = host.split(":")
        self.target = (name, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.dead: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def die(self) -> None:
        """All that is open now is dead; what comes later lives."""
        self.dead |= {end for pair in self.pairs for end in pair}

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:  # the test is over
                return
            far = socket.create_connection(self.target)
            self.pairs.append((near, far))
            threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        while near not in self.dead:
            for end in select.select([near, far], [], [], 0.1)[0]:
                if near in self.dead:
                    return
                try:
                    chunk = end.recv(1 << 16)
                    other[end].sendall(chunk)
                except OSError:
                    chunk = b""
                if not chunk:
                    near.close()
                    far.close()
                    return


@pytest.fixture
def wire(server: str) -> Iterator[Wire]:
    wire = Wire(server)
    yield wire
    wire.listener.close()


def pause_clock(page: Page) -> None:
    page.clock.pause_at(page.evaluate("Date.now() / 1000 + 1"))


def wake_by_timers(page: Page) -> None:
    """The lid is opened: the clock has jumped, and each timer that was due fires once."""
    page.clock.fast_forward(3_600_000)


def wake_by_being_seen(page: Page) -> None:
    """The tab is looked at again: the clock has jumped, and no timer has had its turn yet."""
    now = page.evaluate("Date.now()")
    page.clock.set_fixed_time((now + 3_600_000) / 1000)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.mark.parametrize("wake", [wake_by_timers, wake_by_being_seen])
def test_an_hour_asleep(page: Page, user, wire: Wire, batch, wake: Callable[[Page], None]):
    """The line died meanwhile, and nobody told the browser."""
    sign_in(page, user, wire.host)
    page.clock.install()
    page.goto(f"http://{wire.host}{batch.get_absolute_url()}")
    expect(field(page, "connection")).to_have_text("live")
    watch(page)
    save(batch, 3)
    expect(field(page, "count")).to_have_text("3 of 900")
    pause_clock(page)
    wire.die()
    save(batch, 600)
    wake(page)
    expect(field(page, "connection")).to_have_text("reconnecting…")
    page.clock.run_for(1000)
    expect(field(page, "connection")).to_have_text("live")
    expect(field(page, "count")).to_have_text("603 of 900")
    expect_all_shown(page, 603)
    forget_network_errors(page)


FIFTY_BROWSERS = """async (url) => {
    const { Connection } = await import(url);
    const opened = [];
    window.WebSocket = class {
        constructor() { opened.push(this); this.at = performance.now(); }
        close() {}
    };
    const handlers = { state() {}, snapshot() {}, events() {} };
    for (let i = 0; i < 50; i++) new Connection({ id: "x", seq: 0, eventsUrl: "/nowhere/", handlers });
    window.opened = opened;
}"""


def test_fifty_browsers_do_not_come_again_in_the_same_moment(signed_in: Page, batch):
    """Their server went away from all at once: they come again over half a second, and then over a whole one."""
    page = signed_in
    page.clock.install()
    with page.expect_request("**/connection*.js") as module:
        page.goto(batch.get_absolute_url())
    expect(field(page, "connection")).to_have_text("live")
    pause_clock(page)
    page.evaluate(FIFTY_BROWSERS, module.value.url)
    for least, most in ((250, 750), (500, 1500)):
        page.evaluate(
            "window.cut = performance.now(); for (const line of opened.splice(0)) line.onclose({ code: 1006 })"
        )
        page.clock.run_for(2000)
        pauses: list[float] = page.evaluate("opened.map((line) => line.at - window.cut)")
        assert len(pauses) == 50
        assert least <= min(pauses)
        assert max(pauses) <= most
        assert len(set(pauses)) > 25
        assert max(pauses) - min(pauses) > 0.5 * (most - least)


def test_a_user_with_too_many_sockets_polls(page: Page, user, batch, start: Callable[..., Any]):
    port = free_port()
    start("web", port=port, MAX_SOCKETS_PER_USER="1")
    wait_for(lambda: listens(port))
    host = f"127.0.0.1:{port}"
    sign_in(page, user, host)
    url = f"http://{host}{batch.get_absolute_url()}"
    page.goto(url)
    expect(field(page, "connection")).to_have_text("live")
    second = page.context.new_page()
    second.goto(url)
    expect(field(second, "connection")).to_have_text("polling")
    save(batch, 3)
    for tab in (page, second):
        expect(field(tab, "count")).to_have_text("3 of 900")
