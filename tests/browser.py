"""A real Chromium for the tests, and what they do in it."""

import shutil
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

expect.set_options(timeout=30_000)  # a machine may be busy; what must come, comes

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright keeps a loop in this thread
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(name="page")
def a_page(chromium: Browser, server: str) -> Iterator[Page]:
    """A tab; whatever its console or a script complains of fails the test."""
    context = chromium.new_context(base_url=f"http://{server}")
    context.set_default_timeout(30_000)
    tab = context.new_page()
    complaints: list[str] = []
    tab.on(
        "console",
        lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.complaints = complaints  # type: ignore[attr-defined]
    yield tab
    context.close()
    assert not complaints


def sign_in(page: Page, user: User, host: str) -> None:
    """As the sign-in page would, but quicker."""
    client = Client()
    client.force_login(user)
    value = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": value, "url": f"http://{host}"}])


@pytest.fixture
def signed_in(page: Page, user: User, server: str) -> Page:
    sign_in(page, user, server)
    return page


def forgive(page: Page, words: str) -> None:
    """Complaints with these words are what the test was about."""
    page.complaints[:] = [told for told in page.complaints if words not in told]  # type: ignore[attr-defined]


def field(page: Page, name: str):
    return page.locator(f'[data-field="{name}"]')
