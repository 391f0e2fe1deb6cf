"""The product in a real Chromium: what a person sees, and that the browser has nothing to complain of."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from batches import services, tasks
from batches.models import Batch
from tests.browser import field, forgive, sign_in
from tests.conftest import ended, listens, wait_for
from tests.postgres import free_port
from tests.scans import write_many_pages, write_scans
from tests.zips import write_zip

pytestmark = pytest.mark.django_db(transaction=True)


def test_from_sign_in_to_text(page: Page, user, worker, tmp_path: Path):
    user.set_password("reads-cards")
    user.save()
    page.goto("/")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not match")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill("reads-cards")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Make the first batch").click()

    bad = tmp_path / "notes.png"
    bad.write_text("not an image")
    page.get_by_label("Files").set_input_files([*write_scans(tmp_path, 12), bad])
    expect(page.locator("[data-sum]")).to_contain_text("13 files")
    page.get_by_label("Name").fill("Box 12")
    page.get_by_label("German").check()
    page.get_by_role("button", name="Start reading").click()

    expect(page).to_have_url(re.compile("/batches/[0-9a-f-]{36}/$"))
    expect(page.get_by_role("heading", name="Box 12")).to_be_visible()
    expect(field(page, "connection")).to_have_text("live")
    expect(page.locator(".failures li")).to_have_text("notes.png")
    expect(page.locator(".problem")).to_contain_text("This is a text file, which is not read.")
    bar = field(page, "bar")
    seen: set[float] = set()
    deadline = time.monotonic() + 60
    while field(page, "status").inner_text() == "Running" or not seen:
        assert time.monotonic() < deadline
        seen.add(bar.evaluate("bar => bar.value"))
        page.wait_for_timeout(100)
    assert len(seen) >= 4, f"the bar stood at {seen} only"
    expect(field(page, "count")).to_have_text("12 of 12")
    expect(field(page, "percentage")).to_have_text("100 %")
    expect(field(page, "sentence")).to_have_text("Finished: all 12 pages read.")
    expect(page.locator(".recent li")).to_have_count(12)
    expect(page.locator(".recent .confidence").first).to_contain_text("% sure")

    with page.expect_download() as download:
        page.get_by_role("button", name="Download text").click()
    text = Path(download.value.path()).read_text()
    assert text.count("\f") == 11
    page.get_by_role("link", name="Page 1", exact=True).click()
    expect(page.locator("pre.text")).to_contain_text("Page number 1 of the register")
    expect(page.locator("figure img")).to_have_js_property("complete", True)
    width = page.locator("figure img").evaluate("image => image.naturalWidth")
    assert 1000 < width < 1010, "straightened, and whole"
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="Page 2 of 12")).to_be_visible()


def test_a_reload_and_a_second_tab_are_right(signed_in: Page, worker, make_batch, tmp_path: Path):
    page = signed_in
    batch: Batch = make_batch(files=[write_many_pages(tmp_path / "box.tif", 8)])
    page.goto(batch.get_absolute_url())
    expect(field(page, "status")).to_have_text("Running")
    second = page.context.new_page()
    second.goto(batch.get_absolute_url())
    page.reload()
    wait_for(lambda: ended(batch))
    for tab in (page, second):
        expect(field(tab, "count")).to_have_text("8 of 8")
        expect(tab.locator(".recent li")).to_have_count(8)


def test_a_network_that_was_lost_is_made_good(signed_in: Page, worker, make_batch, tmp_path: Path):
    page = signed_in
    batch: Batch = make_batch(files=[write_many_pages(tmp_path / "box.tif", 8)])
    page.goto(batch.get_absolute_url())
    expect(field(page, "connection")).to_have_text("live")
    page.context.set_offline(True)
    expect(field(page, "connection")).to_have_text("reconnecting…")
    wait_for(lambda: ended(batch))
    page.wait_for_timeout(2000)
    page.context.set_offline(False)
    expect(field(page, "connection")).to_have_text("live")
    expect(field(page, "count")).to_have_text("8 of 8")
    expect(page.locator(".recent li")).to_have_count(8)
    forgive(page, "ERR_INTERNET_DISCONNECTED")


def test_a_page_that_was_recognised_before_says_so(signed_in: Page, worker, make_batch):
    page = signed_in
    for said in ("", ", recognised before"):
        batch: Batch = make_batch(1)
        page.goto(batch.get_absolute_url())
        expect(page.locator(".recent .confidence")).to_have_text(re.compile(f"% sure{said}$"))
    page.reload()
    expect(page.locator(".recent .confidence")).to_have_text(re.compile("% sure, recognised before$"))
    page.get_by_role("link", name="Page 1", exact=True).click()
    expect(page.locator("[data-note]")).to_have_text("Recognised before: the text was taken from then.")


def test_where_sockets_are_blocked_the_page_polls(signed_in: Page, worker, make_batch):
    page = signed_in
    batch: Batch = make_batch(3)
    page.route_web_socket(re.compile("/ws/"), lambda socket: socket.close())
    page.goto(batch.get_absolute_url())
    expect(field(page, "connection")).to_have_text("polling")
    expect(field(page, "status")).to_have_text("Completed")
    expect(field(page, "count")).to_have_text("3 of 3")
    expect(page.locator(".recent li")).to_have_count(3)


def test_a_server_that_was_restarted_is_found_again(
    chromium, start: Callable[..., Any], user, worker, make_batch
):
    port = free_port()
    web = start("web", port=port)
    wait_for(lambda: listens(port))
    page = chromium.new_context(base_url=f"http://127.0.0.1:{port}").new_page()
    sign_in(page, user, f"127.0.0.1:{port}")
    batch: Batch = make_batch(3)
    page.goto(batch.get_absolute_url())
    expect(field(page, "connection")).to_have_text("live")
    web.stop(grace=10)
    expect(field(page, "connection")).not_to_have_text("live")
    wait_for(lambda: ended(batch))
    start("web", port=port)
    expect(field(page, "connection")).to_have_text("live", timeout=30_000)
    expect(field(page, "count")).to_have_text("3 of 3")
    page.context.close()


def test_cancel_and_retry_from_the_page(signed_in: Page, worker, make_batch, tmp_path: Path):
    page = signed_in
    batch: Batch = make_batch(files=[write_many_pages(tmp_path / "box.tif", 20)])
    page.goto(batch.get_absolute_url())
    expect(field(page, "status")).to_have_text("Running")
    page.get_by_role("button", name="Cancel").click()
    expect(field(page, "status")).to_have_text("Cancelled")
    expect(field(page, "sentence")).to_contain_text("not read.")
    page.get_by_role("button", name="Retry what was not read").click()
    expect(field(page, "status")).to_have_text("Completed", timeout=60_000)
    expect(field(page, "count")).to_have_text("20 of 20")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("was deleted")
    assert not Batch.objects.exists()


def test_a_page_that_fails_is_told_with_its_reason(
    signed_in: Page, start: Callable[..., Any], shim, make_batch
):
    page = signed_in
    start("worker", shim=shim("kill -SEGV $$"))
    batch: Batch = make_batch(2)
    page.goto(batch.get_absolute_url())
    expect(page.locator(".failures li")).to_have_count(2)
    expect(page.locator(".problem summary")).to_contain_text("Tesseract stopped 2 pages")
    expect(page.locator(".problem")).to_contain_text("Tesseract stopped with an error")
    expect(field(page, "error")).to_contain_text("Every page failed")


def test_pause_resume_and_pages_read_again_otherwise(
    signed_in: Page, start: Callable[..., Any], shim, make_batch, tmp_path: Path
):
    """An engine that fails as long as it is not told to read scattered words."""
    page = signed_in
    picky = shim('case "$*" in *"--psm 11"*) exec $REAL "$@" ;; *) sleep 1; kill -SEGV $$ ;; esac')
    start("worker", shim=picky, WORKER_SLOTS="1")
    batch: Batch = make_batch(4)
    page.goto(batch.get_absolute_url())
    page.get_by_role("button", name="Pause").click()
    expect(field(page, "sentence")).to_contain_text("Paused:")
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".problem summary")).to_contain_text("4 pages")
    expect(field(page, "status")).to_have_text("Failed")

    page.get_by_label("Choose page 2").check()
    page.get_by_text("Read otherwise than before").click()
    page.get_by_label("Layout").select_option("sparse")
    page.get_by_role("button", name="Read the ticked pages again").click()
    expect(field(page, "status")).to_have_text("Completed")
    expect(page.locator(".recent li")).to_contain_text("Page 2")
    expect(page.locator(".problem summary")).to_contain_text("3 pages")

    page.get_by_role("link", name="Page 3", exact=True).click()
    page.get_by_text("Read otherwise than before").click()
    page.get_by_label("Layout").select_option("sparse")
    page.get_by_role("button", name="Read this page again").click()
    expect(page.locator(".problem summary")).to_contain_text("2 pages")


def test_a_choice_outlives_the_next_problem(signed_in: Page, start: Callable[..., Any], shim, make_batch):
    """Problems are drawn anew as more come: what was ticked, chosen and folded stays so."""
    page = signed_in
    start("worker", shim=shim("sleep 1; kill -SEGV $$"), WORKER_SLOTS="1")
    batch: Batch = make_batch(5)
    page.goto(batch.get_absolute_url())
    page.get_by_label("Choose page 1").check()
    page.get_by_text("Read otherwise than before").click()
    page.get_by_label("Turn the page").select_option("90")
    expect(page.locator(".failures li")).to_have_count(5)
    expect(page.get_by_label("Choose page 1")).to_be_checked()
    expect(page.get_by_label("Turn the page")).to_have_value("90")


def test_the_admin_shows_live_progress(page: Page, staff, server: str, worker, make_batch, tmp_path: Path):
    sign_in(page, staff, server)
    batch: Batch = make_batch(files=[write_many_pages(tmp_path / "box.tif", 6)])
    page.goto(f"/admin/batches/batch/{batch.pk}/change/")
    expect(field(page, "connection")).to_have_text("live")
    expect(field(page, "status")).to_have_text("Completed")
    expect(field(page, "count")).to_have_text("6 of 6")


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_screen(
    signed_in: Page, worker, make_batch, user, tmp_path: Path, width: int
):
    page = signed_in
    batch: Batch = make_batch(1)
    Batch.objects.update(name="a" * 200)
    wait_for(lambda: ended(batch))
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/batches/new/", batch.get_absolute_url(), f"{batch.get_absolute_url()}pages/1/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    services.delete_batch(batch)
    page.goto("/")
    expect(page.get_by_text("No batches yet")).to_be_visible()


def test_the_browser_has_no_complaint_on_any_page(page: Page, staff, server: str, make_batch):
    sign_in(page, staff, server)
    batch: Batch = make_batch(1)
    tasks.work()
    rows = {"batch": batch, "sourcefile": batch.files.get(), "page": batch.pages.get()}
    rows |= {"batchevent": batch.events.get(seq=1)}
    admin = [f"/admin/batches/{model}/" for model in rows]
    admin += [f"/admin/batches/{model}/{row.pk}/change/" for model, row in rows.items()]
    admin += [
        f"/admin/batches/batch/{batch.pk}/history/",
        "/admin/",
        "/admin/batches/",
        "/admin/auth/group/add/",
    ]
    admin += ["/admin/auth/user/", "/admin/auth/user/add/", f"/admin/auth/user/{staff.pk}/change/"]
    admin += [f"/admin/auth/user/{staff.pk}/password/", f"/admin/auth/user/{staff.pk}/delete/"]
    own = batch.get_absolute_url()
    for path in ("/", "/batches/new/", own, f"{own}pages/1/", f"{own}pages/1/image/", *admin):
        answer = page.goto(path, wait_until="load")
        assert answer
        assert answer.ok, path
        policy = "sandbox" if path.endswith("image/") else "default-src 'self'"
        assert policy in answer.headers["content-security-policy"], path
        assert not page.complaints, path  # type: ignore[attr-defined]
    expect(page.locator("#content")).to_be_visible()
    page.context.clear_cookies()
    page.goto("/admin/login/")
    page.goto("/accounts/login/")


def test_the_browser_has_no_complaint_on_pages_of_refusal(page: Page, user, server: str):
    sign_in(page, user, server)
    for path in ("/nowhere/", "/batches/new/?of=another"):
        page.goto(path)
        page.evaluate("document.querySelector('[name=csrfmiddlewaretoken]').value = 'another'")
        page.evaluate("document.querySelector('main form, header form').submit()")
        expect(page.get_by_role("alert")).to_contain_text("Nothing was done")
    forgive(page, "the server responded with a status of")


def test_what_is_slipped_into_a_page_does_not_run(signed_in: Page):
    page = signed_in
    page.goto("/")
    page.evaluate(
        """document.body.append(document.createRange().createContextualFragment(
            "<img src='/healthz' onerror='window.ran = 1'><script>window.ran = 2</" + "script>"))"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None
    assert "Content Security Policy" in str(page.complaints)  # type: ignore[attr-defined]
    page.complaints.clear()  # type: ignore[attr-defined]


def test_what_came_in_an_archive_and_what_came_twice_is_told_live(
    page: Page, server: str, user, worker, make_batch, tmp_path: Path
):
    sign_in(page, user, server)
    (card,) = write_scans(tmp_path / "scans", 1)
    members = {
        "letters/card-2.png": card.read_bytes(),
        "letters/table.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    }
    batch = make_batch(files=[card, write_zip(tmp_path / "box.zip", members)])
    page.goto(batch.get_absolute_url())
    expect(page.locator(".failures li")).to_contain_text("box.zip/letters/table.xls")
    expect(page.locator(".hints li")).to_contain_text("The same file as card-1.png")
    expect(page.locator('[data-field="sentence"]')).to_contain_text("Finished")
    expect(page.locator(".hints li")).to_have_count(1)
