"""How often one may try: passwords and uploads, and how much one may hand over."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, RequestFactory

from batches.models import Batch
from ocrsite.visitors import address_of
from tests.conftest import client_of

pytestmark = pytest.mark.django_db(transaction=True)

LOGIN = "/accounts/login/"
NOWHERE = "unix:///nowhere/redis.sock"


@pytest.fixture(autouse=True)
def strict(settings):
    settings.AXES_FAILURE_LIMIT = 3
    settings.UPLOADS_PER_HOUR = 2
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick


def guess(password: str, *, url: str = LOGIN, name: str = "ada", address: str = "192.0.2.1") -> Any:
    return Client(REMOTE_ADDR=address).post(url, {"username": name, "password": password})


def upload(user: User) -> Any:
    file = SimpleUploadedFile("a.png", b"x" * 50)
    return client_of(user).post("/batches/new/", {"files": [file], "languages": ["eng"]})


@pytest.fixture
def locked(user):
    user.set_password("reads-cards")
    user.save()
    for _ in range(3):
        answer = guess("wrong")
    return answer


def test_too_many_wrong_passwords_have_to_wait(locked):
    assert locked.status_code == 429
    assert 890 <= int(locked["Retry-After"]) <= 900
    assert re.search(rb"Try again in 15 minutes. If you do not know the password", locked.content)
    assert guess("reads-cards").status_code == 429  # the right one too: it may have been guessed
    assert guess("reads-cards", url="/admin/login/").status_code == 429


async def test_the_wait_is_told_under_asgi_too(user, async_client):
    data = {"username": "ada", "password": "wrong"}
    for _ in range(4):
        answer = await async_client.post(LOGIN, data)
    assert answer.status_code == 429
    assert b"Try again in 15 minutes" in answer.content


def test_nobody_else_has_to_wait(locked, other):
    other.set_password("reads-cards")
    other.save()
    assert guess("reads-cards", name="eve").status_code == 302
    assert guess("reads-cards", address="192.0.2.2").status_code == 302


def test_the_wait_ends_though_one_tried_meanwhile(locked):
    AccessAttempt.objects.update(
        attempt_time=AccessAttempt.objects.get().attempt_time - timedelta(minutes=14)
    )
    answer = guess("wrong")
    assert int(answer["Retry-After"]) <= 60
    assert b"in 1 minute." in answer.content
    AccessAttempt.objects.update(attempt_time=AccessAttempt.objects.get().attempt_time - timedelta(minutes=1))
    assert guess("reads-cards").status_code == 302


def test_signing_in_wipes_the_slate_without_redis_too(user, settings):
    settings.REDIS_URL = NOWHERE
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": NOWHERE}}
    user.set_password("reads-cards")
    user.save()
    for password in ("wrong", "wrong", "reads-cards", "wrong", "wrong"):
        answer = guess(password)
        assert answer.status_code == (302 if password == "reads-cards" else 200)
    assert guess("wrong").status_code == 429


def test_too_many_uploads_have_to_wait(user, other):
    assert [upload(user).status_code for _ in range(3)] == [302, 302, 429]
    answer = upload(user)
    assert 1 <= int(answer["Retry-After"]) <= 3600
    assert b"more uploads than this server takes within an hour" in answer.content
    assert client_of(user).get("/batches/new/").status_code == 200
    assert upload(other).status_code == 302
    assert Batch.objects.count() == 3


def test_without_redis_uploads_are_taken(user, settings, caplog):
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": NOWHERE}}
    assert [upload(user).status_code for _ in range(3)] == [302, 302, 302]
    assert "Uploads are not counted" in caplog.text


def test_too_many_unfinished_batches_are_told_before_the_upload(user, other, settings):
    settings.MAX_BATCHES_PER_USER = 2
    for status in ("running", "completed", "queued"):
        Batch.objects.create(owner=user, name="Box", options={}, status=status)
    told = b"as many unfinished batches as this server allows. Wait until one has ended"
    assert told in client_of(user).get("/batches/new/").content
    assert told in upload(user).content
    assert Batch.objects.count() == 3
    Batch.objects.filter(status="queued").update(status="cancelled")
    assert upload(user).status_code == 302
    assert told not in client_of(other).get("/batches/new/").content


def test_files_that_are_too_large_together_are_told(user, settings):
    settings.MAX_BATCH_BYTES = 99
    files = [SimpleUploadedFile(name, b"x" * 50) for name in ("a.png", "b.png")]
    answer = client_of(user).post("/batches/new/", {"files": files, "languages": ["eng"]})
    assert b"larger together than this server takes in one batch" in answer.content
    assert not Batch.objects.exists()


def test_the_limits_stand_on_the_form(user, settings):
    settings.MAX_BATCH_BYTES, settings.MAX_FILE_BYTES, settings.MAX_BATCHES_PER_USER = 3 << 20, 2 << 20, 7
    content = client_of(user).get("/batches/new/").content.decode()
    assert "2.0\xa0MB each and 3.0\xa0MB together. A batch takes 100,000 pages of 120 megapixels" in content
    assert "At most 7 of your batches" in content


@pytest.mark.parametrize(
    ("proxy", "told", "address"),
    [
        (False, "198.51.100.9", "192.0.2.1"),
        (True, "10.1.1.1, 198.51.100.9", "198.51.100.9"),
        (True, "2001:db8::1", "2001:db8::"),  # the network: one visitor has all its addresses
        (True, "nonsense'", "192.0.2.1"),
        (True, "", "192.0.2.1"),
    ],
)
def test_only_a_proxy_is_believed_where_a_visitor_comes_from(settings, proxy, told, address):
    settings.BEHIND_PROXY = proxy
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=told)
    assert address_of(request) == address


def test_the_pages_for_refusals_need_no_exception(user):
    """Django's own page for a form that failed its check brings a style sheet within it."""
    client = client_of(user)
    client.handler.enforce_csrf_checks = True
    answer = client.post("/batches/new/")
    assert answer.status_code == 403
    assert b"reload the page, and send it again" in answer.content
    for page in Path("templates").rglob("*.html"):
        assert not re.search(r"<style|style=|<script(?![^>]* src=)|\son\w+=|javascript:", page.read_text()), (
            page
        )
