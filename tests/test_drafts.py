"""Files on their way: two at once, crashes, what becomes of them at the start, and the sweep."""

import errno
import hashlib
import os
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.models.functions import Now

from batches import services, tasks
from batches.documents.kinds import HEAD_BYTES
from batches.errors import Unfinished
from batches.models import Batch, Upload
from batches.ocr import Options
from tests.conftest import check_invariants, client_of, listens, session_cookie, types, wait_for
from tests.postgres import free_port
from tests.scans import write_many_pages, write_scans
from tests.uploading import PIECE, PNG, TUS, Draft

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # what other threads and processes see


@pytest.fixture
def draft(user) -> Draft:
    return Draft(user)


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
    draft.patch(url, 0, bytes(HEAD_BYTES))  # no more of it is sent
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
