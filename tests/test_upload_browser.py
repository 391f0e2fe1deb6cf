"""Handing over files in a real Chromium: folders, lost lines, restarted servers, reloads, and no scripts at all."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from batches.models import Batch, Upload
from tests.browser import forgive, sign_in
from tests.conftest import listens, wait_for
from tests.postgres import free_port

pytestmark = pytest.mark.django_db(transaction=True)

PNG = b"\x89PNG\r\n\x1a\n"
BIG = 10_000_000
PIECE = 100_000  # so small that there is time to interrupt


class Site:
    """A web server that takes small pieces, and a tab that is signed in to it."""

    def __init__(self, chromium: Browser, start: Callable[..., Any], user: User) -> None:
        self.port = free_port()
        self.start: Callable[[], Any] = lambda: start("web", port=self.port, MAX_BODY_BYTES=str(PIECE))
        self.up()
        context = chromium.new_context(base_url=f"http://127.0.0.1:{self.port}")
        context.set_default_timeout(30_000)
        self.page = context.new_page()
        self.offsets: list[int] = []  # where the pieces that were sent begin
        self.page.on("request", self._note)
        sign_in(self.page, user, f"127.0.0.1:{self.port}")
        self.page.goto("/batches/new/")

    def _note(self, request: Any) -> None:
        if request.method == "PATCH":
            self.offsets.append(int(request.headers["upload-offset"]))

    def up(self) -> None:
        self.web = self.start()
        wait_for(lambda: listens(self.port))

    def down(self) -> None:
        self.web.stop(grace=0)

    def arrived(self) -> int:
        upload = Upload.objects.filter(size=BIG + len(PNG)).first()
        return upload.arrived if upload else 0


@pytest.fixture
def site(chromium: Browser, start: Callable[..., Any], user) -> Any:
    site = Site(chromium, start, user)
    yield site
    site.page.context.close()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.png"
    path.write_bytes(PNG + os.urandom(BIG))
    return path


def part(page: Page, name: str):
    return page.locator(f"[data-{name}]")


def row(page: Page, name: str):
    return page.locator(".files li", has_text=name)


def choose(page: Page, *paths: Path) -> None:
    page.get_by_label("Files").set_input_files(list(paths))


def write_box(folder: Path, files: int) -> Path:
    """A folder of small files, one of them wrong, one hidden, and one in a folder of its own."""
    (folder / "more").mkdir(parents=True)
    for number in range(1, files - 1):
        (folder / f"card-{number}.png").write_bytes(PNG + bytes(number))
    (folder / "notes.txt").write_text("words")
    (folder / "more" / "letter.pdf").write_bytes(b"%PDF-1.4")
    (folder / ".hidden.png").write_bytes(PNG)
    return folder


def drop(page: Page, *paths: Path) -> None:
    """As from a file manager, so that the browser can look into folders."""
    box = part(page, "drop").bounding_box()
    assert box
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"x": box["x"] + 20, "y": box["y"] + 20}
        devtools.send("Input.dispatchDragEvent", {"type": kind, "data": data} | place)


def test_a_folder_of_two_hundred_files_one_of_them_wrong(signed_in: Page, tmp_path: Path):
    page = signed_in
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto("/batches/new/")
    drop(page, write_box(tmp_path / "Box 12", 200))
    expect(part(page, "sum")).to_contain_text("200 files")
    expect(page.get_by_label("Name")).to_have_value("Box 12")
    wrong = part(page, "bad").locator("li")
    expect(wrong).to_contain_text("Box 12/notes.txt")
    expect(wrong).to_contain_text("will be refused")
    expect(wrong).to_contain_text("This is a text file, which is not read.")
    expect(part(page, "sum")).to_contain_text("200 arrived · 1 will be refused")
    expect(page.get_by_role("status").first).to_have_text("Everything has arrived.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    drop(page, tmp_path / "Box 12")  # once more: they are there already
    page.get_by_role("button", name="Start reading").click()
    expect(page.get_by_role("heading", name="Box 12")).to_be_visible()
    names = [file.name for file in Batch.objects.get().files.all()]
    cards = [f"Box 12/card-{number}.png" for number in range(1, 199)]
    assert sorted(names) == sorted([*cards, "Box 12/notes.txt", "Box 12/more/letter.pdf"])
    assert [name for name in names if name in cards] == cards  # card-2 before card-10
    assert not Upload.objects.exists()
    page.goto("/batches/new/")
    expect(part(page, "files")).to_be_hidden()


def test_a_lost_line_and_a_restarted_server_in_mid_upload(site: Site, big: Path):
    """Started at once, then the network goes, then the server: it goes on where it stood, and starts by itself."""
    page = site.page
    choose(page, big)
    page.get_by_role("button", name="Start reading").click()
    wait_for(lambda: site.arrived() > 1_000_000)
    page.context.set_offline(True)
    expect(part(page, "line")).to_contain_text("The connection is lost.")
    expect(page.get_by_role("button", name="Waiting for 1 file…")).to_be_visible()
    page.context.set_offline(False)
    before = site.arrived()
    wait_for(lambda: site.arrived() > before + 1_000_000)
    expect(part(page, "line")).to_have_text("")
    site.down()
    expect(part(page, "line")).to_contain_text("The connection is lost.")
    site.up()
    expect(page).to_have_url(re.compile("/batches/[0-9a-f-]{36}/$"))
    file = Batch.objects.get().files.get()
    assert file.sha256 == hashlib.sha256(big.read_bytes()).hexdigest()
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    assert len(site.offsets) < BIG / PIECE + 6, "no more pieces than the interrupted ones were sent again"


def test_a_reload_goes_on_where_it_was(site: Site, big: Path, tmp_path: Path):
    page = site.page
    small = tmp_path / "small.png"
    small.write_bytes(PNG)
    choose(page, small, big)
    wait_for(lambda: site.arrived() > 1_000_000)
    page.reload()
    expect(row(page, "small.png")).to_contain_text("arrived")
    expect(row(page, "big.png")).to_contain_text("add it again to go on")
    expect(part(page, "sum")).to_contain_text("1 arrived · 1 to be added again")
    page.get_by_role("button", name="Start reading").click()
    expect(part(page, "notice")).to_contain_text("1 file has not arrived")
    page.goto("/batches/new/")  # another draft: this one is offered
    page.get_by_role("link", name="Go on with it").click()
    expect(row(page, "big.png")).to_contain_text("add it again to go on")
    there = site.arrived()
    site.offsets.clear()
    choose(page, small, big)
    expect(part(page, "line")).to_have_text("Everything has arrived.")
    assert min(site.offsets) == there
    page.get_by_role("button", name="Start reading").click()
    expect(page).to_have_url(re.compile("/batches/[0-9a-f-]{36}/$"))
    files = Batch.objects.get().files.all()
    assert [file.name for file in files] == ["big.png", "small.png"]
    assert files[0].sha256 == hashlib.sha256(big.read_bytes()).hexdigest()


def test_one_is_cancelled_and_a_film_is_not_sent_to_its_end(site: Site, big: Path, tmp_path: Path):
    page = site.page
    small, film = tmp_path / "small.png", tmp_path / "film.mp4"
    small.write_bytes(PNG)
    film.write_bytes(b"\0\0\0 ftypisom" + bytes(BIG))
    choose(page, big, film, small)
    expect(row(page, "film.mp4")).to_contain_text("will be refused")
    assert Upload.objects.get(name="film.mp4").offset < 1_000_000
    page.get_by_role("button", name="Remove big.png").click()
    expect(row(page, "big.png")).to_have_count(0)
    wait_for(lambda: not Upload.objects.filter(name="big.png").exists())
    page.get_by_role("button", name="Start reading").click()
    expect(page.locator(".failures li")).to_have_text("film.mp4")
    told = {file.name: file.status for file in Batch.objects.get().files.all()}
    assert told == {"film.mp4": "rejected", "small.png": "queued"}


def test_what_is_too_large_is_told_before_it_is_sent(
    chromium: Browser, start: Callable[..., Any], user, tmp_path
):
    port = free_port()
    start("web", port=port, MAX_FILE_BYTES="1000", MAX_FILES_PER_UPLOAD="2")
    wait_for(lambda: listens(port))
    page = chromium.new_context(base_url=f"http://127.0.0.1:{port}").new_page()
    sign_in(page, user, f"127.0.0.1:{port}")
    page.goto("/batches/new/")
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for path in files:
        path.write_bytes(PNG * 200)
    files[1].write_bytes(PNG)
    choose(page, *files)
    expect(part(page, "notice")).to_contain_text("These would be 3 files, and a batch takes 2.")
    choose(page, *files[:2])
    expect(row(page, "a.png")).to_contain_text("Larger than the 1000 bytes that a file may have here.")
    page.get_by_role("button", name="Start reading").click()
    expect(part(page, "notice")).to_contain_text("1 file has not arrived: see the reason beside it.")
    page.get_by_role("button", name="Remove what is wrong").click()
    page.get_by_role("button", name="Start reading").click()
    expect(page.get_by_role("heading", name="b.png")).to_be_visible()
    page.context.close()


def test_who_is_signed_out_is_told_and_nothing_is_lost(signed_in: Page, user, server: str, tmp_path: Path):
    page = signed_in
    page.goto("/batches/new/")
    page.context.clear_cookies(name="sessionid")
    (tmp_path / "a.png").write_bytes(PNG)
    choose(page, tmp_path / "a.png")
    expect(part(page, "line")).to_contain_text("You are not signed in, or no longer.")
    sign_in(page, user, server)
    page.get_by_role("button", name="Try again").click()
    expect(row(page, "a.png")).to_contain_text("arrived")
    forgive(page, "401")


def test_without_scripts_the_form_sends_the_files(chromium: Browser, server: str, user, tmp_path: Path):
    context = chromium.new_context(base_url=f"http://{server}", java_script_enabled=False)
    page = context.new_page()
    sign_in(page, user, server)
    page.goto("/batches/new/")
    expect(
        page.get_by_text("Without JavaScript the files go all at once: 128.0\xa0MB together")
    ).to_be_visible()
    expect(page.get_by_role("button", name="Choose a folder")).to_be_hidden()
    for name in ("card-10.png", "card-2.png"):
        (tmp_path / name).write_bytes(PNG)
    choose(page, tmp_path / "card-10.png", tmp_path / "card-2.png")
    page.get_by_role("button", name="Start reading").click()
    expect(page.get_by_role("heading", name="card-2.png")).to_be_visible()
    assert [file.name for file in Batch.objects.get().files.all()] == ["card-2.png", "card-10.png"]
    context.close()


def test_without_scripts_what_is_too_large_is_told_by_a_page(
    chromium: Browser, start: Callable[..., Any], user, tmp_path: Path
):
    port = free_port()
    start("web", port=port, MAX_BODY_BYTES="300000")
    wait_for(lambda: listens(port))
    context = chromium.new_context(base_url=f"http://127.0.0.1:{port}", java_script_enabled=False)
    page = context.new_page()
    sign_in(page, user, f"127.0.0.1:{port}")
    page.goto("/batches/new/")
    (tmp_path / "large.png").write_bytes(b"x" * 20_000_000)
    choose(page, tmp_path / "large.png")
    page.get_by_role("button", name="Start reading").click()
    expect(page.get_by_role("alert")).to_contain_text("larger than the 293.0\xa0KB that this server takes")
    context.close()
