import re
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from batches import tasks
from batches.models import Batch, SourceFile
from tests.conftest import client_of, prepare_next, wait_for
from tests.pdfs import write_text_pdf
from tests.scans import scan, write_many_pages, write_scans
from tests.zips import write_zip

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(make_batch) -> Batch:
    batch = make_batch(2)
    tasks.work()
    tasks.work()
    batch.refresh_from_db()
    return batch  # type: ignore[no-any-return]


def url_of(name: str, batch: Batch) -> str:
    number = [1] if "page" in name else []
    return reverse(name, args=[batch.pk, *number]) + ("?after=0" if name == "batches:events" else "")


def test_an_unknown_batch_or_page_is_not_found(batch, user):
    client = client_of(user)
    assert client.get(reverse("batches:detail", args=[uuid4()])).status_code == 404
    assert client.get(reverse("batches:page", args=[batch.pk, 99])).status_code == 404
    assert client.get(reverse("batches:page", args=[batch.pk, 0])).status_code == 404


def test_the_list_shows_ones_own_batches(batch, user, other, staff):
    assert b"Box 12" in client_of(user).get("/").content
    assert b"No batches yet" in client_of(other).get("/").content
    assert b"Box 12" in client_of(staff).get("/").content


def test_the_list_costs_the_same_for_many_batches(user, django_assert_num_queries):
    Batch.objects.bulk_create(Batch(name="Box", owner=user, options={}) for _ in range(120))
    client = client_of(user)
    with django_assert_num_queries(4):  # session, user, count, one page of batches with their owners
        client.get("/?page=2")


def test_files_are_handed_over_in_natural_order(user, tmp_path: Path):
    names = ("card-10.png", "card-2.png", "Card-1.png")
    (scan,) = write_scans(tmp_path, 1)
    files = [SimpleUploadedFile(name, scan.read_bytes()) for name in names]
    answer = client_of(user).post("/batches/new/", {"files": files, "languages": ["eng", "deu"], "name": ""})
    batch = Batch.objects.get()
    assert answer.url == batch.get_absolute_url()  # type: ignore[attr-defined]
    assert [file.name for file in batch.files.all()] == ["Card-1.png", "card-2.png", "card-10.png"]
    assert (batch.name, batch.options["languages"]) == ("Card-1.png", ["eng", "deu"])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"languages": ["eng"]}, b"This field is required"),
        ({"files": "scan", "languages": []}, b"This field is required"),
        ({"files": "scan", "languages": ["xyz"]}, b"xyz is not one of the available choices"),
        ({"files": "scan", "languages": ["eng"], "name": "x" * 201}, b"at most 200 characters"),
    ],
)
def test_a_form_that_is_not_complete_says_so(user, data, told):
    if "files" in data:
        data |= {"files": SimpleUploadedFile("scan.png", b"x")}
    answer = client_of(user).post("/batches/new/", data)
    assert answer.status_code == 200
    assert told in answer.content
    assert not Batch.objects.exists()


def test_a_file_over_the_limit_is_named(user, settings):
    settings.MAX_FILE_BYTES = 10
    files = [SimpleUploadedFile("small.png", b"x"), SimpleUploadedFile("large.png", b"x" * 11)]
    answer = client_of(user).post("/batches/new/", {"files": files, "languages": ["eng"]})
    assert b"large.png. Split" in answer.content
    assert not Batch.objects.exists()


def test_too_many_files_at_once_are_told(user, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 1
    files = [SimpleUploadedFile(name, b"x") for name in ("a.png", "b.png")]
    answer = client_of(user).post("/batches/new/", {"files": files, "languages": ["eng"]})
    assert answer.status_code == 400
    assert b"more files than this server takes at once" in answer.content
    assert not Batch.objects.exists()


def test_names_are_shown_as_text(user, tmp_path: Path):
    (scan,) = write_scans(tmp_path, 1)
    name = "<script>alert(1)<script>"
    client = client_of(user)
    file = SimpleUploadedFile("<img src=x>.png", scan.read_bytes())
    client.post("/batches/new/", {"files": [file], "languages": ["eng"], "name": name})
    tasks.work()
    batch = Batch.objects.get()
    for url in ("/", batch.get_absolute_url(), url_of("batches:page", batch)):
        content = client.get(url).content
        assert b"<script>alert" not in content
        assert b"<img src=x>" not in content
    told = client.get(url_of("batches:text", batch))["Content-Disposition"]
    assert 'filename="script-alert-1-script-.txt"; filename*' in told


def test_without_an_engine_nothing_is_kept_and_it_is_said(user, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = client_of(user).get("/batches/new/")
    assert answer.status_code == 503
    assert b"Tesseract is not installed" in answer.content


def test_the_live_page_goes_on_from_where_it_was_drawn(batch, user):
    content = client_of(user).get(batch.get_absolute_url()).content.decode()
    assert f'data-seq="{batch.last_seq}"' in content
    assert "2 of 2" in content


def test_the_live_page_costs_the_same_for_many_pages(user, make_batch, tmp_path, django_assert_num_queries):
    batch = make_batch(files=[write_many_pages(tmp_path / "box.tif", 60)])
    prepare_next()
    client = client_of(user)
    with django_assert_num_queries(
        8
    ):  # session, user, batch; recent pages; reasons of files, of pages; hints; engines
        client.get(batch.get_absolute_url())


def test_polling_tells_what_the_socket_tells(batch, user):
    client = client_of(user)
    answer = client.get(reverse("batches:events", args=[batch.pk]) + "?after=4").json()
    assert answer["snapshot"]["seq"] == batch.last_seq
    assert [event["seq"] for event in answer["events"]] == list(range(5, batch.last_seq + 1))


@pytest.mark.parametrize("query", ["", "?after=", "?after=-1", "?after=x"])
def test_polling_without_a_number_is_told_what_to_give(batch, user, query):
    answer = client_of(user).get(reverse("batches:events", args=[batch.pk]) + query)
    assert answer.status_code == 400
    assert "after" in answer.json()["error"]


async def test_the_text_comes_page_by_page(batch, user, async_client):
    await async_client.aforce_login(user)
    answer = await async_client.get(reverse("batches:text", args=[batch.pk]))
    text = b"".join([part async for part in answer.streaming_content]).decode()
    first, second = text.split("\f")
    assert first.startswith("Page number 1 of")
    assert second.startswith("Page number 2 of")
    assert "filename*=UTF-8''Box%2012.txt" in answer["Content-Disposition"]


async def test_the_original_is_only_ever_a_download(batch, user, async_client):
    await async_client.aforce_login(user)
    answer = await async_client.get(reverse("batches:original", args=[batch.pk, 2]))
    source = await batch.files.aget(position=2)
    source.batch = batch
    assert b"".join([part async for part in answer.streaming_content]) == source.path.read_bytes()
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Length"] == str(source.size)
    assert answer["Content-Disposition"].startswith('attachment; filename="card-2.png"')
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]


def test_a_page_from_an_archive_leads_to_its_own_file(make_batch, user, tmp_path: Path):
    (card,) = write_scans(tmp_path, 1)
    box = write_zip(tmp_path / "box.zip", {"a.png": card.read_bytes(), "b.png": card.read_bytes()})
    batch = make_batch(files=[box])
    for _ in range(3):
        tasks.work()
    url = f"{batch.get_absolute_url()}files/1.2/original/"
    content = client_of(user).get(reverse("batches:page", args=[batch.pk, 2])).content.decode()
    assert f'href="{url}"' in content
    answer = client_of(user).get(url)
    assert answer["Content-Disposition"].startswith('attachment; filename="box.zip_b.png"')


def test_an_original_that_is_gone_is_not_found(batch, user):
    batch.files.get(position=1).path.unlink()
    for number in (1, 3):
        assert client_of(user).get(reverse("batches:original", args=[batch.pk, number])).status_code == 404


def test_a_page_shows_its_image_beside_its_text(batch, user):
    client = client_of(user)
    content = client.get(url_of("batches:page", batch)).content.decode()
    assert "Page number 1 of the register" in content
    image = client.get(url_of("batches:page-image", batch))
    assert (image["Content-Type"], image["X-Content-Type-Options"]) == ("image/jpeg", "nosniff")
    assert image.content.startswith(b"\xff\xd8")


def test_a_page_says_where_its_text_comes_from(user, make_batch, tmp_path: Path):
    scan(1).save(tmp_path / "moving.gif", save_all=True, append_images=[scan(2)])
    letter = write_text_pdf(tmp_path / "letter.pdf", ["The parish register", "of Saint Mary"])
    batch = make_batch(files=[letter, tmp_path / "moving.gif"])
    for _ in range(2):
        tasks.work()
    client = client_of(user)
    first = client.get(url_of("batches:page", batch)).content.decode()
    assert "Text taken from the PDF." in first
    assert "The parish register\nof Saint Mary" in first
    second = client.get(reverse("batches:page", args=[batch.pk, 2])).content.decode()
    assert "First of 2 frames; the others are not read." in second
    assert "First of 2 frames" in client.get(batch.get_absolute_url()).content.decode()


@pytest.mark.parametrize(
    ("sent", "kept"), [({"pdf_text": "read"}, "read"), ({"pdf_text": "keep"}, "keep"), ({}, "keep")]
)
def test_what_is_done_with_text_in_pdf_files_is_chosen(user, tmp_path: Path, sent: dict[str, str], kept: str):
    (path,) = write_scans(tmp_path, 1)
    upload = SimpleUploadedFile("card.png", path.read_bytes())
    data = {"files": [upload], "languages": ["eng"], "name": ""} | sent
    assert client_of(user).post("/batches/new/", data).status_code == 302
    assert Batch.objects.get().reading_options().pdf_text == kept


def test_another_choice_is_refused(user, tmp_path: Path):
    upload = SimpleUploadedFile("card.png", b"")
    data = {"files": [upload], "languages": ["eng"], "pdf_text": "perhaps"}
    assert "perhaps is not one of" in client_of(user).post("/batches/new/", data).content.decode()


def test_a_page_that_was_never_opened_has_no_image(user, make_batch):
    batch = make_batch(1)
    prepare_next()
    assert client_of(user).get(url_of("batches:page-image", batch)).status_code == 404
    assert b"has not been read yet" in client_of(user).get(url_of("batches:page", batch)).content


def test_commands_that_come_too_late_say_so(batch, user):
    client = client_of(user)
    late = {
        "pause": b"is not running",
        "resume": b"is not paused",
        "cancel": b"had ended, or",
        "retry": b"nothing to retry",
    }
    for name, told in late.items():
        assert told in client.post(url_of(f"batches:{name}", batch), follow=True).content
    assert b"was deleted" in client.post(url_of("batches:delete", batch), follow=True).content


@pytest.fixture
def failed(make_batch) -> Batch:
    """Both pages have failed, each for a reason of its own."""
    batch = make_batch(2)
    prepare_next()
    batch.pages.update(status="failed", error_code="timeout", error_message="It took too long.")
    batch.pages.filter(number=2).update(error_code="engine_crashed", error_message="<b>It crashed.</b>")
    Batch.objects.update(status="completed", failed=2)
    return batch  # type: ignore[no-any-return]


def queued(batch: Batch) -> list[int]:
    return list(batch.pages.filter(status="queued").values_list("number", flat=True))


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        ({}, [1, 2]),
        ({"page": ["2"], "selected": "1"}, [2]),
        ({"page": ["1", "99"]}, [1]),
        ({"code": "timeout"}, [1]),
        ({"code": "timeout", "page": ["2"]}, [1]),  # the button of one reason, with another page ticked
        ({"selected": "1"}, []),
        ({"page": ["x"]}, []),
        ({"page": ["9" * 30]}, []),
        ({"code": "nonsense"}, []),
        ({"rotation": "45"}, []),
        ({"languages": ["xyz"]}, []),
    ],
)
def test_which_pages_are_read_again(failed, user, data, numbers):
    client_of(user).post(url_of("batches:retry", failed), data)
    assert queued(failed) == numbers


def test_pages_are_read_again_otherwise(failed, user):
    data = {"page": ["2"], "languages": ["deu", "fra"], "segmentation": "sparse", "rotation": "270"}
    client_of(user).post(url_of("batches:retry", failed), data)
    chosen = {"languages": ["deu", "fra"], "segmentation": "sparse", "rotation": 270}
    chosen |= {"pdf_text": "keep", "preparation": "auto"}  # as the batch has it
    assert [page.options for page in failed.pages.all()] == [None, chosen]


def test_what_is_left_empty_stays_as_it_is(failed, user):
    data = {"languages": [], "segmentation": "", "rotation": "0"}
    client_of(user).post(url_of("batches:retry", failed), data)
    page = failed.pages.get(number=1)
    assert page.options == failed.options


@pytest.mark.parametrize(
    ("status", "told"), [("cancelling", b"once that is done"), ("preparing", b"still being looked at")]
)
def test_a_retry_that_comes_too_early_is_told_so(failed, user, status, told):
    Batch.objects.update(status=status)
    assert told in client_of(user).post(url_of("batches:retry", failed), follow=True).content
    assert queued(failed) == []


def test_nothing_ticked_is_told(failed, user):
    answer = client_of(user).post(url_of("batches:retry", failed), {"selected": "1"}, follow=True)
    assert b"Tick the pages" in answer.content


def test_problems_are_grouped_by_reason(failed, user):
    SourceFile.objects.create(
        batch=failed, position=3, name="plan.svg", sha256="", size=1, status="rejected",
        error_code="unsupported_type", error_message="Not an image.",
    )  # fmt: skip
    for name in ("problems", "detail"):
        content = client_of(user).get(url_of(f"batches:{name}", failed)).content.decode()
        titles = re.findall(r"<summary><strong>(.+?)</strong>", content)
        assert titles == ["Not a type that is read", "Tesseract stopped", "Took too long"]
        assert "plan.svg" in content
        assert "&lt;b&gt;It crashed.&lt;/b&gt;" in content
        assert content.count("reading again may help") == 2


def test_a_batch_without_problems_shows_none(batch, user):
    assert client_of(user).get(url_of("batches:problems", batch)).content.strip() == b""


def test_a_page_that_failed_can_be_read_again_from_its_own_page(failed, user):
    content = client_of(user).get(url_of("batches:page", failed)).content
    assert b"Read this page again" in content
    failed.pages.update(status="succeeded")
    assert b"Read this page again" not in client_of(user).get(url_of("batches:page", failed)).content


def test_a_form_that_is_sent_twice_is_one_batch(user, tmp_path: Path):
    (scan,) = write_scans(tmp_path, 1)
    client = client_of(user)
    key = re.search(rb'name="submission" value="([0-9a-f-]{36})"', client.get("/batches/new/").content)
    assert key
    places = set()
    for _ in range(2):
        file = SimpleUploadedFile("scan.png", scan.read_bytes())
        data = {"files": [file], "languages": ["eng"], "submission": key[1].decode()}
        places.add(client.post("/batches/new/", data).url)  # type: ignore[attr-defined]
    assert len(places) == Batch.objects.count() == 1


def test_forms_of_other_sites_are_refused(batch, user):
    client = client_of(user)
    client.handler.enforce_csrf_checks = True
    assert client.post(url_of("batches:delete", batch)).status_code == 403


def test_the_process_is_up(client):
    assert client.get("/healthz").content == b"ok\n"


def test_readiness_names_what_is_missing(client, staff, monkeypatch, tmp_path: Path, settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    states = answer.json()
    missing = {"redis": "missing", "worker": "missing", "tesseract": "missing"}
    assert states == {"ready": False, "database": "ok"} | missing
    details = client_of(staff).get("/readyz").json()
    assert "no worker answers" in details["worker"]
    assert "Tesseract is not installed" in details["tesseract"]


def test_readiness_with_a_worker(client, worker):
    states = wait_for(lambda: (answer := client.get("/readyz")).status_code == 200 and answer.json())
    assert states == {"ready": True} | dict.fromkeys(("database", "redis", "worker", "tesseract"), "ok")
