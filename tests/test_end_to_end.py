"""A batch read by a real worker, through a real Redis, followed over a real WebSocket."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rapidfuzz.distance import Levenshtein
from websockets.sync.client import connect
from websockets.typing import Origin

from batches import services
from batches.models import Batch
from tests.conftest import (
    WAIT,
    check_invariants,
    client_of,
    ended,
    listens,
    session_cookie,
    wait_for,
)
from tests.postgres import free_port
from tests.scans import draw, lines_of, write_many_pages, write_scans

pytestmark = pytest.mark.django_db(transaction=True)


def follow(host: str, batch: Batch, after: int = 0) -> list[dict[str, Any]]:
    """Every event that the socket tells, until the batch has ended."""
    events: list[dict[str, Any]] = []
    url = f"ws://{host}/ws/batches/{batch.pk}/?after={after}"
    headers = {"Cookie": session_cookie(batch.owner)}
    with connect(url, origin=Origin(f"http://{host}"), additional_headers=headers) as socket:
        assert json.loads(socket.recv(WAIT))["type"] == "snapshot"
        while not events or events[-1]["type"].removeprefix("batch.") not in Batch.ENDED:
            events += json.loads(socket.recv(WAIT))["events"]
    return events


@pytest.fixture
def proxy(server: str, tmp_path: Path) -> Iterator[str]:
    """nginx in front of the server, as docs/deployment.md shows it."""
    port = free_port()
    document = (Path(__file__).parent.parent / "docs" / "deployment.md").read_text()
    site = document.split("```nginx\n")[1].split("```")[0]
    site = site.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};").replace("127.0.0.1:8000", server)
    site = "\n".join(line for line in site.splitlines() if "ssl_certificate" not in line)
    paths = " ".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; {paths}\n{site} }}\n"
    )
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([nginx, "-c", str(config), "-p", str(tmp_path)], stderr=subprocess.DEVNULL)
    wait_for(lambda: listens(port))
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize("way", ["server", "proxy"])
def test_every_event_arrives_in_order_and_the_text_is_right(way, request, worker, make_batch, tmp_path):
    host = request.getfixturevalue(way)
    batch = make_batch(files=[*write_scans(tmp_path, 3), write_many_pages(tmp_path / "letters.pdf", 2)])
    events = follow(host, batch)
    check_invariants(batch)
    assert [event["seq"] for event in events] == list(range(1, batch.last_seq + 1))
    assert events[-1]["type"] == "batch.completed"
    assert events[-1]["batch"]["percentage"] == 100.0
    counts = [event["batch"]["current"] for event in events]
    assert counts == sorted(counts)
    for page, number in zip(batch.pages.all(), (1, 2, 3, 1, 2), strict=True):
        truth = "\n".join(lines_of(number))
        assert Levenshtein.distance(page.text.replace("\n\n", "\n"), truth) <= 3
    assert follow(host, batch, after=batch.last_seq - 2) == events[-2:]


def test_an_engine_that_crashes_on_one_page_of_five(start, make_batch, shim, staff, tmp_path: Path):
    """Four pages succeed, one fails with its reason; retry from the admin reads just that one."""
    crash = f'if [ ! -e {tmp_path}/mended ] && [ $(stat -c %s "$1") -lt 600000 ]; then kill -SEGV $$; fi; exec $REAL "$@"'
    paths = write_scans(tmp_path / "five", 5)
    draw(lines_of(3), size=(900, 600)).save(paths[2])
    start("worker", shim=shim(crash), WORKER_SLOTS="2")
    batch = make_batch(files=paths)
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert (batch.status, batch.succeeded, batch.failed) == ("completed", 4, 1)
    failed = batch.pages.get(status="failed")
    assert (failed.number, failed.error_code) == (3, "engine_crashed")
    told = batch.events.get(type="page.failed").payload["page"]
    assert told["error"]["message"] == failed.error_message

    (tmp_path / "mended").touch()
    data = {"action": "retry_failed_pages", "_selected_action": [str(batch.pk)]}
    assert (
        "1 page queued again"
        in client_of(staff).post("/admin/batches/batch/", data, follow=True).content.decode()
    )
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert [page.attempt for page in batch.pages.all()] == [1, 1, 2, 1, 1]
    assert batch.succeeded == 5


def test_a_preparation_that_raises_is_told_to_those_who_watch(server, start, make_batch):
    """No page, no progress: the reason all the same, over the socket, with zero counts."""
    batch = make_batch()
    Batch.objects.update(options={"languages": ["eng"], "segmentation": "none such"})
    start("worker")
    events = follow(server, batch)
    assert [event["type"] for event in events] == ["batch.queued", "batch.failed"]
    assert (events[-1]["batch"]["total"], events[-1]["batch"]["current"]) == (0, 0)
    assert events[-1]["batch"]["error"]["code"] == "bad_options"


def test_a_language_removed_before_the_worker_began(start, make_batch, shim):
    only_english = 'case "$1" in --list-langs) echo "List:"; echo eng; exit 0;; esac; exec $REAL "$@"'
    folder = shim(only_english)
    script = (
        (folder / "tesseract")
        .read_text()
        .replace('--*) exec $REAL "$@" ;;', "--version) exec $REAL --version ;;")
    )
    (folder / "tesseract").write_text(script)
    batch = make_batch(languages=("eng", "deu"))
    start("worker", shim=folder)
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert (batch.status, batch.error_code, batch.total) == ("failed", "language_missing", 0)
    assert "deu" in batch.error_message


def test_a_batch_of_nothing_readable_ends_within_seconds(worker, make_batch, tmp_path: Path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 nothing")
    batch = make_batch(files=[tmp_path / "a.pdf"])
    wait_for(lambda: ended(batch), 15)
    check_invariants(batch)
    assert (batch.error_code, batch.percentage) == ("nothing_to_read", 0.0)


def test_a_small_batch_does_not_wait_behind_a_large_one(worker, make_batch, other, tmp_path: Path):
    large = make_batch(files=[write_many_pages(tmp_path / "box.tif", 40)])
    wait_for(lambda: Batch.objects.get(pk=large.pk).succeeded > 0)
    small = make_batch(1, owner=other)
    wait_for(lambda: ended(small))
    large.refresh_from_db()
    assert large.current < 20
    services.cancel_batch(large)
    wait_for(lambda: ended(large))
    check_invariants(large)


def test_the_broker_holds_a_handful_of_tokens(worker, make_batch, tmp_path: Path, settings):
    batches: list[Batch] = [make_batch(files=[write_many_pages(tmp_path / "box.tif", 30)]) for _ in range(3)]
    wait_for(lambda: Batch.objects.filter(succeeded__gt=0).count() == 3)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.llen("work") <= 3
    for batch in batches:
        services.cancel_batch(batch)
    wait_for(lambda: all(ended(batch) for batch in batches))


def test_an_upload_that_is_cut_off_half_way_leaves_nothing(server: str, user, settings):
    """The line goes dead in the middle of a file: no batch, no file, no temporary file."""
    head = (
        f"POST /batches/new/ HTTP/1.1\r\nHost: {server}\r\nCookie: {session_cookie(user)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    )
    host, port = server.split(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(head.encode() + b"x" * 3_000_000)
        time.sleep(0.5)
    wait_for(lambda: not [path for path in settings.DATA_DIR.rglob("*.upload*") if path.is_file()])
    assert not Batch.objects.exists()
    assert not list(settings.TMP_DIR.iterdir())
    assert not list((settings.DATA_DIR / "batches").glob("*"))
