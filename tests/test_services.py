"""A user's commands, with the worker's own functions called by hand where something must be read."""

import errno
import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from batches import ocr, services, tasks
from batches.errors import LanguageMissing, NoSpace
from batches.models import Batch, Page
from batches.services import LocalFile
from tests.conftest import check_invariants, prepare_next, types
from tests.scans import write_many_pages, write_scans

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_batch_keeps_its_files_under_names_of_ours(make_batch, tmp_path):
    path = tmp_path / "../../etc/passwd"
    (scan,) = write_scans(tmp_path, 1)
    batch = make_batch(files=[scan, scan])
    assert [file.name for file in batch.files.all()] == ["card-1.png"] * 2
    for file in batch.files.all():
        assert file.path.parent == batch.folder / "sources"
        assert file.path.read_bytes() == scan.read_bytes()
        assert (file.size, len(file.sha256)) == (scan.stat().st_size, 64)
    odd = services.create_batch(batch.owner, "x", [LocalFile(scan, str(path))], ocr.Options())
    assert odd.files.get().path.parent == odd.folder / "sources"
    assert types(batch) == ["batch.queued"]


def test_a_language_that_is_not_there_keeps_nothing(make_batch, settings):
    with pytest.raises(LanguageMissing, match="xyz"):
        make_batch(languages=("xyz",))
    assert not Batch.objects.exists()
    assert not (settings.DATA_DIR / "batches").exists()


def test_a_disk_that_refuses_leaves_nothing_behind(make_batch, tmp_path, settings):
    good = write_scans(tmp_path, 1)
    with pytest.raises(OSError, match="No such file"):
        make_batch(files=[*good, tmp_path / "gone.png"])
    assert not Batch.objects.exists()
    assert not list((settings.DATA_DIR / "batches").iterdir())


def test_a_broker_that_is_away_is_no_error(make_batch, settings, caplog):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    assert make_batch().status == "queued"
    assert "No wake token" in caplog.text


def test_pages_are_read_and_the_batch_completes(make_batch, tmp_path):
    tiff = write_many_pages(tmp_path / "box.tif", 2)
    batch = make_batch(files=[*write_scans(tmp_path, 1), tiff])
    for _ in range(3):
        tasks.work()
    check_invariants(batch)
    assert (batch.status, batch.succeeded) == ("completed", 3)
    assert types(batch) == [
        "batch.queued", "batch.preparing", "file.accepted", "file.accepted", "batch.running",
        "page.succeeded", "page.succeeded", "page.succeeded", "batch.completed",
    ]  # fmt: skip
    assert [page.text.splitlines()[0] for page in batch.pages.all()] == [
        "Page number 1 of the register", "Page number 1 of the register", "Page number 2 of the register",
    ]  # fmt: skip
    page = batch.pages.first()
    assert page
    assert page.image_path.exists()
    assert page.words_path(page.attempt).exists()
    assert not list((batch.folder / "pages").glob(".*"))


def test_bad_files_are_refused_by_name_and_neighbours_go_on(make_batch, tmp_path):
    (tmp_path / "notes.txt").write_text("https://example.org/\n")
    batch = make_batch(files=[tmp_path / "notes.txt", *write_scans(tmp_path, 1)])
    tasks.work()
    check_invariants(batch)
    assert batch.status == "completed"
    refused = batch.events.get(type="file.rejected").payload["file"]
    assert (refused["name"], refused["error"]["code"]) == ("notes.txt", "unsupported_type")


def test_a_batch_with_nothing_to_read_ends_with_its_reason(make_batch, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    batch = make_batch(files=[tmp_path / "notes.txt"])
    tasks.work()
    check_invariants(batch)
    assert (batch.status, batch.total, batch.error_code) == ("failed", 0, "nothing_to_read")
    last = batch.events.last()
    assert last
    assert last.payload["batch"]["error"]["code"] == "nothing_to_read"


def test_a_failure_before_any_progress_is_saved_and_told(make_batch):
    batch = make_batch()
    Batch.objects.update(options={"not": "options"})
    tasks.work()
    check_invariants(batch)
    assert (batch.status, batch.current, batch.error_code) == ("failed", 0, "bad_options")
    assert types(batch) == ["batch.queued", "batch.failed"]


def test_a_page_that_cannot_be_decoded_fails_alone(make_batch, tmp_path):
    good, bad = write_scans(tmp_path, 2)
    bad.write_bytes(bad.read_bytes()[:4000])
    batch = make_batch(files=[good, bad])
    tasks.work()
    tasks.work()
    check_invariants(batch)
    assert (batch.status, batch.succeeded, batch.failed) == ("completed", 1, 1)
    assert batch.pages.get(status="failed").error_code == "corrupt_file"


def test_a_source_that_is_gone_is_told(make_batch):
    batch = make_batch(1)
    prepare_next()
    shutil.rmtree(batch.folder / "sources")
    tasks.work()
    check_invariants(batch)
    assert batch.pages.get().error_code == "source_missing"
    assert (batch.status, batch.error_code) == ("failed", "nothing_read")


def test_cancel_before_anything_began(make_batch):
    batch = make_batch()
    assert services.cancel_batch(batch)
    tasks.work()
    check_invariants(batch)
    assert types(batch) == ["batch.queued", "batch.cancelled"]
    assert not services.cancel_batch(batch)


def test_cancel_keeps_what_is_done_and_waits_for_what_is_in_hand(make_batch):
    batch = make_batch(3)
    tasks.work()
    page = Page.objects.claim()
    assert page
    assert services.cancel_batch(batch)
    batch.refresh_from_db()
    assert (batch.status, batch.succeeded, batch.cancelled) == ("cancelling", 1, 1)
    tasks.read(page)
    check_invariants(batch)
    assert (batch.status, batch.succeeded, batch.cancelled) == ("cancelled", 2, 1)
    assert types(batch)[-3:] == ["batch.cancelling", "page.succeeded", "batch.cancelled"]


def test_cancel_during_preparation_wins(make_batch):
    batch = make_batch()
    claimed = Batch.objects.claim_preparation()
    assert claimed
    services.cancel_batch(batch)
    tasks.prepare(claimed)
    check_invariants(batch)
    assert (batch.status, batch.total) == ("cancelled", 0)


def test_delete_leaves_nothing(make_batch):
    batch = make_batch(1)
    tasks.work()
    services.delete_batch(batch)
    assert not Batch.objects.exists()
    assert not Page.objects.exists()
    assert not batch.folder.exists()


def test_delete_while_it_is_read_cancels_first_and_leaves_nothing(make_batch, settings):
    batch = make_batch(2)
    prepare_next()
    page = Page.objects.claim()
    assert page
    services.delete_batch(batch)
    tasks.read(page)  # the worker that has it in hand finds it gone
    assert not Page.objects.exists()
    assert not batch.folder.exists()
    assert not list(settings.TMP_DIR.iterdir())


def test_what_a_worker_writes_for_a_deleted_batch_goes_too(make_batch):
    batch = make_batch(1)
    prepare_next()
    page = Page.objects.claim()
    assert page
    services.delete_batch(batch)
    page.image_path.parent.mkdir(parents=True)  # it had the file open already
    tasks.read(page)
    assert not batch.folder.exists()


def test_delete_twice_is_no_error(make_batch):
    batch = make_batch(1)
    services.delete_batch(batch)
    services.delete_batch(batch)
    assert not Batch.objects.exists()


def test_commands_that_come_after_a_delete_do_nothing(make_batch):
    batch = make_batch(1)
    services.delete_batch(batch)
    commands = (services.cancel_batch, services.pause_batch, services.resume_batch, services.retry_batch)
    assert [bool(command(batch)) for command in commands] == [False] * 4


def test_delete_during_preparation_is_no_error(make_batch, caplog):
    batch = make_batch(1)
    claimed = Batch.objects.claim_preparation()
    assert claimed
    services.delete_batch(batch)
    tasks.prepare(claimed)
    assert not Batch.objects.exists()
    assert "Traceback" not in caplog.text


def test_two_who_prepare_one_batch_are_told_apart(make_batch):
    """The first was thought lost, or its batch was cancelled and retried meanwhile: it changes nothing."""
    batch = make_batch(1)
    late = Batch.objects.claim_preparation()
    assert late
    Batch.objects.update(lease_expires_at=None)
    prepare_next()
    tasks.prepare(late)
    assert batch.pages.count() == 1
    tasks.work()
    check_invariants(batch)


def test_a_full_disk_is_told_and_nothing_is_kept(make_batch, user, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NoSpace, match="make room"):
        make_batch(1)
    assert not Batch.objects.exists()


def test_too_many_pages_for_a_batch_are_refused_by_file(make_batch, tmp_path, settings):
    settings.MAX_PAGES_PER_BATCH = 3
    files = [write_many_pages(tmp_path / f"{name}.tif", 2) for name in "ab"]
    batch = make_batch(files=files)
    for _ in range(2):
        tasks.work()
    check_invariants(batch)
    assert batch.files.get(name="b.tif").error_code == "too_many_pages"


def test_names_are_kept_short_from_the_front(make_batch, user, tmp_path: Path):
    (scan,) = write_scans(tmp_path, 1)
    batch = services.create_batch(user, "x", [LocalFile(scan, "a" * 400 + "-7.png")], ocr.Options())
    name = batch.files.get().name
    assert len(name) == 255
    assert name.endswith("-7.png")


def test_a_form_that_is_sent_twice_is_one_batch(make_batch, user, other, tmp_path: Path):
    uploads = [LocalFile(path, path.name) for path in write_scans(tmp_path, 1)]
    key = uuid4()
    first = services.create_batch(user, "x", uploads, ocr.Options(), key)
    again = services.create_batch(user, "x", uploads, ocr.Options(), key)
    assert first == again
    assert types(first) == ["batch.queued"]
    assert services.create_batch(other, "x", uploads, ocr.Options(), key) != first
    assert make_batch(1) != make_batch(1)
