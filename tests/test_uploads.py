"""Uploads in pieces: the protocol, wrong files, and limits."""

import errno
import hashlib
import os
import resource
import signal
from uuid import uuid4

import pytest
from django.test import Client

from batches import drafts
from batches.documents.kinds import HEAD_BYTES
from batches.models import Batch, Upload
from tests.uploading import PIECE, PNG, TUS, Draft, metadata

pytestmark = pytest.mark.django_db


@pytest.fixture
def draft(user) -> Draft:
    return Draft(user)


# ------------------------------------------------------------------ the protocol


def test_what_the_server_can(draft, settings):
    answer = draft.client.options("/uploads/")
    assert answer.status_code == 204
    assert answer["Tus-Version"] == answer["Tus-Resumable"] == "1.0.0"
    assert answer["Tus-Extension"] == "creation,creation-with-upload,expiration,termination"
    assert answer["Tus-Max-Size"] == str(settings.MAX_FILE_BYTES)


def test_a_file_in_three_pieces(draft, settings):
    content = PNG + os.urandom(3000)
    url = draft.begin(content, "Box 12/card-1.png")
    for offset, end in ((0, 1000), (1000, 2000), (2000, len(content))):
        assert draft.offset(url) == offset
        answer = draft.patch(url, offset, content[offset:end])
        assert (answer.status_code, answer["Upload-Offset"]) == (204, str(end))
        assert "Upload-Expires" in answer
    upload = Upload.objects.get()
    assert upload.sha256 == hashlib.sha256(content).hexdigest()
    assert upload.path == settings.DATA_DIR / "uploads" / str(upload.pk)
    assert upload.path.read_bytes() == content
    (state,) = draft.listed()
    assert state["name"] == "Box 12/card-1.png"
    assert (state["offset"], state["size"], state["refused"]) == (len(content), len(content), "")


def test_a_head_tells_length_and_is_not_cached(draft):
    answer = draft.client.head(draft.begin(7), headers=TUS)
    assert (answer["Upload-Length"], answer["Upload-Offset"]) == ("7", "0")
    assert "no-store" in answer["Cache-Control"]


def test_the_first_piece_may_come_along(draft):
    answer = draft.create(PNG * 4, send=20)
    assert (answer.status_code, answer["Upload-Offset"]) == (201, "20")
    assert draft.offset(answer["Location"]) == 20


def test_an_empty_file_is_whole_at_once_and_known_to_be_wrong(draft):
    answer = draft.create(b"")
    assert "The%20file%20is%20empty" in answer["Upload-Refused"]
    assert Upload.objects.get().is_whole


def test_a_file_that_comes_again_is_the_same_one(draft):
    first = draft.create(PNG * 4, send=20)
    again = draft.create(PNG * 4, send=20)
    assert again["Location"] == first["Location"]
    assert again["Upload-Offset"] == "20"
    assert draft.create(PNG * 5)["Location"] != first["Location"]


@pytest.mark.parametrize(
    ("headers", "kind", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, PIECE, 412),
        ({}, "text/plain", 415),
        ({"Upload-Offset": "5"}, PIECE, 409),
        ({"Upload-Offset": "x"}, PIECE, 400),
        ({"Upload-Offset": "-1"}, PIECE, 400),
    ],
)
def test_what_is_not_the_protocol_is_refused(draft, headers, kind, status):
    url = draft.begin(10)
    answer = draft.patch(url, 0, b"x" * 5, kind, **headers)
    assert answer.status_code == status
    assert answer.content
    assert draft.offset(url) == 0


@pytest.mark.parametrize(
    "words",
    [{"submission": "x"}, {"submission": ""}, {"fingerprint": ""}, {"fingerprint": "../x"}],
)
def test_a_file_without_its_draft_or_fingerprint_is_refused(draft, words):
    assert draft.create(10, **words).status_code == 400
    assert not Upload.objects.exists()


@pytest.mark.parametrize("length", ["", "-1", "x", "9" * 30])
def test_a_file_without_a_length_is_refused(draft, length):
    headers = TUS | {"Upload-Length": length, "Upload-Metadata": metadata(submission=str(uuid4()))}
    assert draft.client.post("/uploads/", headers=headers).status_code == 400


def test_more_than_was_announced_is_refused_and_what_was_there_stays(draft):
    url = draft.begin(10)
    draft.patch(url, 0, b"12345")
    assert draft.patch(url, 5, b"678901").status_code == 413
    assert draft.offset(url) == 5
    assert Upload.objects.get().path.read_bytes() == b"12345"


def test_a_form_of_another_site_can_do_nothing(user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    draft = Draft(user)
    url = draft.begin(10)
    draft.client = client
    assert draft.create(10, "b.png").status_code == 403
    assert draft.patch(url, 0, b"x").status_code == 403
    assert client.delete(url, headers=TUS).status_code == 403


def test_a_cancelled_file_is_gone(draft):
    url = draft.begin(10)
    draft.patch(url, 0, b"12345")
    path = Upload.objects.get().path
    assert draft.client.delete(url, headers=TUS).status_code == 204
    assert not path.exists()
    assert draft.client.head(url, headers=TUS).status_code == 404
    assert draft.patch(url, 5, b"67890").status_code == 404
    assert not path.exists()


def test_nobody_else_sees_it(draft, other, staff):
    url = draft.begin(10)
    for user in (other, staff):
        stranger = Draft(user, draft.submission)
        assert stranger.listed() == []
        assert stranger.patch(url, 0, b"x").status_code == 404
        assert stranger.client.delete(url, headers=TUS).status_code == 404
        assert stranger.create(10)["Location"] != url
    assert draft.offset(url) == 0


# ------------------------------------------------------------------ wrong files


def test_a_wrong_file_is_told_after_its_first_piece(draft):
    url = draft.begin(9000, "film.mp4")
    answer = draft.patch(url, 0, b"\0\0\0 ftypisom" + bytes(HEAD_BYTES))
    assert answer["Upload-Refused"].startswith("This%20is%20a%20video")
    assert draft.listed()[0]["refused"] == "This is a video, which is not read. Leave it out."


def test_a_good_head_is_not_marked(draft):
    assert "Upload-Refused" not in draft.whole(PNG + bytes(9000), "card.png")
    assert "Upload-Refused" not in draft.whole(bytes(900) + b"%PDF-1.4" + bytes(3000), "letter.pdf")


# ------------------------------------------------------------------ limits


def test_limits_are_told_at_the_first_byte(draft, settings):
    settings.MAX_FILE_BYTES, settings.MAX_BATCH_BYTES, settings.MAX_FILES_PER_UPLOAD = 1000, 2500, 4
    answer = draft.create(1001)
    assert (answer.status_code, b"Larger than the 1000" in answer.content) == (413, True)
    for name in "ab":
        draft.begin(1000, name)
    answer = draft.create(501, "c")
    assert (answer.status_code, b"larger together" in answer.content) == (413, True)
    for name in "cd":
        draft.begin(1, name)
    answer = draft.create(1, "e")
    assert (answer.status_code, b"more files than" in answer.content) == (413, True)
    assert Upload.objects.count() == 4


def test_drafts_count_with_the_unfinished_batches(user, other, settings):
    settings.MAX_BATCHES_PER_USER = 2
    Batch.objects.create(owner=user, name="Box", options={}, status="running")
    first = Draft(user)
    first.begin(1, "a")
    answer = Draft(user).create(1)
    assert (answer.status_code, b"as many unfinished batches" in answer.content) == (429, True)
    first.begin(1, "b")
    Draft(other).begin(1)


def test_a_full_disk_is_told_and_what_was_there_stays(draft, monkeypatch):
    """A file size limit of the process makes write() fail as on a full disk, from the third kilobyte on."""
    url = draft.begin(10**7)
    draft.patch(url, 0, b"x" * 1000)
    monkeypatch.setattr(drafts, "NO_SPACE", (errno.EFBIG,))  # stands for ENOSPC
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, hard))
    try:
        answer = draft.patch(url, 1000, b"x" * 9_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert (answer.status_code, b"disk is full" in answer.content) == (507, True)
    assert draft.offset(url) == 1000
    assert Upload.objects.get().path.stat().st_size == 1000


def test_what_does_not_fit_on_the_disk_is_not_begun(draft, settings):
    settings.MAX_FILE_BYTES = settings.MAX_BATCH_BYTES = 10**15
    assert draft.create(10**14).status_code == 507
