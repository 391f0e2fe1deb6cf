"""Uploads in pieces: the protocol, its limits, two at once, crashes, and what becomes of the files."""

import base64
import errno
import hashlib
import os
import re
import resource
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from batches import drafts, services, tasks
from batches.documents import Kind
from batches.errors import Unfinished, UnsupportedType
from batches.models import Batch, Upload
from batches.ocr import Options
from batches.signatures import SIGNATURES, check_head
from tests.conftest import check_invariants, client_of, listens, session_cookie, types, wait_for
from tests.postgres import free_port
from tests.scans import scan, write_many_pages, write_scans

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # what other threads and processes see

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = "application/offset+octet-stream"
PNG = b"\x89PNG\r\n\x1a\n"


def metadata(**words: str) -> str:
    return ",".join(f"{key} {base64.b64encode(word.encode()).decode()}" for key, word in words.items())


class Draft:
    """One draft of somebody, over HTTP."""

    def __init__(self, user: User | None, submission: UUID | None = None) -> None:
        self.client = client_of(user)
        self.submission = submission or uuid4()

    def create(self, content: bytes | int, name: str = "card.png", send: int = 0, **given: str) -> Any:
        """The answer to a new file; the first `send` bytes of it come along."""
        size = content if isinstance(content, int) else len(content)
        words = {
            "filename": name,
            "submission": str(self.submission),
            "fingerprint": re.sub("[ /]", "-", name),
        }
        words |= given
        headers = TUS | {"Upload-Length": str(size), "Upload-Metadata": metadata(**words)}
        data = content[:send] if isinstance(content, bytes) else b""
        kind = PIECE if send else "text/plain"
        return self.client.post("/uploads/", data, content_type=kind, headers=headers)

    def begin(self, content: bytes | int, name: str = "card.png") -> str:
        answer = self.create(content, name)
        assert answer.status_code == 201, answer.content
        return str(answer["Location"])

    def patch(self, url: str, offset: int, data: bytes, kind: str = PIECE, **headers: str) -> Any:
        headers = TUS | {"Upload-Offset": str(offset)} | headers
        return self.client.patch(url, data, content_type=kind, headers=headers)

    def whole(self, content: bytes, name: str) -> Any:
        answer = self.create(content, name, send=len(content))
        assert answer.status_code == 201, answer.content
        return answer

    def offset(self, url: str) -> int:
        return int(self.client.head(url, headers=TUS)["Upload-Offset"])

    def listed(self) -> list[dict[str, Any]]:
        return list(self.client.get(f"/uploads/?submission={self.submission}").json()["files"])

    def start(self, **data: Any) -> Any:
        return self.client.post("/batches/new/", {"submission": self.submission, "languages": ["eng"]} | data)


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
    assert "not%20a%20PNG" in answer["Upload-Refused"]
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


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_that_is_read_has_its_signature(kind, tmp_path: Path):
    path = tmp_path / f"scan.{kind.lower()}"
    scan(1).save(path, kind.value)
    check_head(path.read_bytes()[:1024])
    assert kind is Kind.PDF or kind.value in {name for name, _, _ in SIGNATURES}


def test_a_wrong_file_is_told_after_its_first_piece(draft):
    url = draft.begin(5000, "film.mp4")
    answer = draft.patch(url, 0, b"\0\0\0 ftypisom" + bytes(2000))
    assert answer["Upload-Refused"].startswith("This%20is%20not%20a%20PNG")
    assert draft.listed()[0]["refused"] == UnsupportedType.message


def test_a_good_head_is_not_marked(draft):
    assert "Upload-Refused" not in draft.whole(PNG + bytes(3000), "card.png")
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


# ------------------------------------------------------------------ two at once, and crashes


def at_once(act: Any, times: int) -> list[Any]:
    gate = threading.Barrier(times)

    def run(number: int) -> Any:
        gate.wait()
        try:
            return act(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))


@committed
def test_pieces_at_the_same_place_at_once_are_written_once(user):
    content = PNG + os.urandom(200_000)
    lines = [Draft(user, UUID(int=1)) for _ in range(4)]
    for _ in range(5):
        Upload.objects.all().delete()
        url = lines[0].begin(content)
        codes = at_once(lambda number: lines[number].patch(url, 0, content).status_code, 4)  # noqa: B023
        assert codes.count(204) == 1
        assert set(codes) <= {204, 409, 423}
        upload = Upload.objects.get()
        assert upload.path.read_bytes() == content
        assert upload.sha256 == hashlib.sha256(content).hexdigest()


@committed
def test_the_sums_hold_when_files_are_begun_at_once(user, settings):
    settings.MAX_FILES_PER_UPLOAD = 3
    lines = [Draft(user, UUID(int=1)) for _ in range(8)]
    codes = at_once(lambda number: lines[number].create(1, f"{number}").status_code, 8)
    assert sorted(codes) == [201] * 3 + [413] * 5
    assert Upload.objects.count() == 3


@committed
def test_the_same_file_begun_at_once_is_one(user):
    lines = [Draft(user, UUID(int=1)) for _ in range(4)]
    answers = at_once(lambda number: lines[number].create(1)["Location"], 4)
    assert len(set(answers)) == 1
    assert Upload.objects.count() == 1


@committed
def test_a_draft_started_twice_at_once_is_one_batch(user, tmp_path: Path):
    lines = [Draft(user, UUID(int=1)) for _ in range(4)]
    for path in write_scans(tmp_path, 3):
        lines[0].whole(path.read_bytes(), path.name)
    places = at_once(lambda number: lines[number].start().headers.get("Location"), 4)
    batch = Batch.objects.get()
    assert places == [batch.get_absolute_url()] * 4
    assert all(file.path.exists() for file in batch.files.all())
    assert [path.name for path in batch.folder.parent.iterdir()] == [str(batch.pk)]
    assert not Upload.objects.exists()


def test_bytes_that_were_not_told_are_written_again(draft):
    """A server that was killed in mid piece: more on the disk than in the row, or less."""
    url = draft.begin(20)
    draft.patch(url, 0, b"0123456789")
    path = Upload.objects.get().path
    with path.open("ab") as file:
        file.write(b"rubbish")
    assert draft.offset(url) == 10
    draft.patch(url, 10, b"abcde")
    assert path.read_bytes() == b"0123456789abcde"
    os.truncate(path, 7)
    assert draft.offset(url) == 7
    assert draft.patch(url, 15, b"f").status_code == 409
    answer = draft.patch(url, 7, b"789abcdefghij")
    assert answer["Upload-Offset"] == "20"
    assert path.read_bytes() == b"0123456789abcdefghij"


@committed
def test_a_line_that_is_cut_in_mid_piece_and_a_server_that_is_killed(start, user, settings):
    """Over a real server: half a piece, then the line is cut; the piece again; killed and started; the rest."""
    content = PNG + os.urandom(3_000_000)
    draft = Draft(user)
    url = draft.begin(content)
    port = free_port()
    web = start("web", port=port)
    wait_for(lambda: listens(port))
    token = re.search(rb'csrfmiddlewaretoken" value="(\w+)"', draft.client.get("/batches/new/").content)
    assert token
    cookie = f"{session_cookie(user)}; csrftoken={draft.client.cookies['csrftoken'].value}"
    half = len(content) // 2

    def head(offset: int, length: int) -> bytes:
        lines = [
            f"PATCH {url} HTTP/1.1",
            "Host: localhost",
            f"Cookie: {cookie}",
            *map(": ".join, TUS.items()),
        ]
        lines += [f"X-CSRFToken: {token[1].decode()}", f"Upload-Offset: {offset}", f"Content-Type: {PIECE}"]
        return "\r\n".join([*lines, f"Content-Length: {length}", "Connection: close", "", ""]).encode()

    def send(offset: int, data: bytes, length: int) -> bytes:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as line:
            line.sendall(head(offset, length) + data)
            return line.recv(100) if len(data) == length else b""

    send(0, content[: half // 2], half)
    assert draft.offset(url) == 0
    assert send(0, content[:half], half).startswith(b"HTTP/1.1 204")
    assert draft.offset(url) == half
    web.stop(grace=0)
    start("web", port=port)
    wait_for(lambda: listens(port))
    assert draft.offset(url) == half
    assert send(half, content[half:], len(content) - half).startswith(b"HTTP/1.1 204")
    assert Upload.objects.get().sha256 == hashlib.sha256(content).hexdigest()


# ------------------------------------------------------------------ from draft to batch


@committed
def test_a_draft_becomes_a_batch(draft, tmp_path: Path):
    for path in reversed(write_scans(tmp_path, 11)):
        answer = draft.whole(path.read_bytes(), f"Box 12/{path.name}")
    before = {upload.name: upload.path.stat().st_ino for upload in Upload.objects.all()}
    answer = draft.start(name="Box 12")
    batch = Batch.objects.get()
    assert answer["Location"] == batch.get_absolute_url()
    assert [file.name for file in batch.files.all()] == [f"Box 12/card-{n}.png" for n in range(1, 12)]
    for file in batch.files.all():
        assert file.path.stat().st_ino == before[file.name]  # moved, not copied
        assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
        assert file.path.stat().st_nlink == 1
    assert not Upload.objects.exists()
    assert draft.start().headers["Location"] == batch.get_absolute_url()
    assert draft.client.get(f"/batches/new/?draft={draft.submission}")["Location"] == batch.get_absolute_url()
    assert draft.create(1).status_code == 410


def test_without_a_name_the_first_files_is_taken(draft):
    draft.whole(PNG, "b-10.png")
    draft.whole(PNG, "b-9.png")
    draft.start()
    assert Batch.objects.get().name == "b-9.png"


def test_a_start_before_all_is_there_is_refused(draft):
    draft.whole(PNG, "a.png")
    draft.begin(20, "b.png")
    answer = draft.start()
    assert answer.status_code == 200
    assert b"Not arrived whole yet: b.png." in answer.content
    assert not Batch.objects.exists()
    assert Upload.objects.count() == 2


@committed
def test_a_file_that_came_meanwhile_is_not_forgotten(draft, user):
    draft.whole(PNG, "a.png")
    files = list(Upload.objects.all())
    draft.whole(PNG, "b.png")
    with pytest.raises(Unfinished):
        services.create_batch(user, "Box", files, Options(), draft.submission)
    assert not Batch.objects.exists()
    assert all(upload.is_whole for upload in Upload.objects.all())
    assert draft.start().status_code == 302


@committed
def test_wrong_files_go_along_and_are_told(draft, tmp_path: Path):
    good = write_scans(tmp_path, 1)[0]
    draft.whole(good.read_bytes(), good.name)
    draft.whole(b"words", "notes.txt")
    url = draft.begin(10**6, "film.mp4")
    draft.patch(url, 0, bytes(2000))  # no more of it is sent
    draft.start()
    batch = Batch.objects.get()
    assert types(batch) == ["batch.queued", "file.rejected"]
    while not batch.has_ended:
        tasks.work()
        batch.refresh_from_db()
    check_invariants(batch)
    told = {file.name: file.error_code for file in batch.files.all()}
    assert told == {"card-1.png": "", "notes.txt": "unsupported_type", "film.mp4": "unsupported_type"}
    assert batch.succeeded == 1


def test_a_disk_without_links_copies(draft, tmp_path: Path, monkeypatch):
    path = write_many_pages(tmp_path / "box.tif", 2)
    draft.whole(path.read_bytes(), path.name)

    def no_links(*paths: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")  # as link(2) has it

    monkeypatch.setattr(os, "link", no_links)
    draft.start()
    assert Batch.objects.get().files.get().path.read_bytes() == path.read_bytes()


def test_a_form_with_files_and_without_a_draft_still_works(draft):
    answer = draft.start(files=[SimpleUploadedFile("a.png", PNG)])
    assert answer.status_code == 302
    assert Batch.objects.get().files.get().size == 8


def test_a_page_of_a_draft_is_of_that_draft(draft, other):
    draft.begin(10)
    page = draft.client.get(f"/batches/new/?draft={draft.submission}").content
    assert f'value="{draft.submission}"'.encode() in page
    assert f"?draft={draft.submission}".encode() in draft.client.get("/batches/new/").content
    assert f"{draft.submission}".encode() not in client_of(other).get("/batches/new/").content


# ------------------------------------------------------------------ the sweep


def age(draft: Draft, hours: int) -> None:
    Upload.objects.filter(submission=draft.submission).update(updated=Now() - timedelta(hours=hours))


def test_abandoned_drafts_go_after_a_day(user, settings):
    old, new, slow = Draft(user), Draft(user), Draft(user)
    for draft in (old, new, slow):
        draft.whole(PNG, "a.png")
    age(old, 25)
    age(new, 23)
    age(slow, 25)
    slow.begin(10, "b.png")  # of the same draft, just now
    (line,) = [line for line in tasks.mend() if "Uploads" in line]
    assert line == "Uploads that nobody went on with for a day: 1 removed"
    assert [len(draft.listed()) for draft in (old, new, slow)] == [0, 1, 2]
    assert len(list((settings.DATA_DIR / "uploads").iterdir())) == 2


def test_files_without_a_row_go_once_they_are_old(draft, settings):
    draft.whole(PNG, "a.png")
    folder = settings.DATA_DIR / "uploads"
    lost, fresh, somebodys = (folder / name for name in (str(uuid4()), str(uuid4()), "lost+found"))
    for path in (lost, fresh, somebodys):
        path.write_bytes(b"x")
    for path in (lost, somebodys, Upload.objects.get().path):
        os.utime(path, (0, 0))
    assert any(lost.name in line for line in tasks.mend())
    assert not lost.exists()
    assert fresh.exists()
    assert somebodys.exists()
    assert Upload.objects.get().is_whole
