"""`python -m benchmarks.scale`: how the product grows from 100 to 10,000 pages; figures last, `NAME VALUE` a line.

A stand-in for Tesseract answers at once, so that what is measured is everything around it. SCALE_SIZES names
other sizes; SCALE_SECONDS is how long each batch is read (0: to its end).
"""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import Request, urlopen

import pypdfium2 as pdfium
from PIL import Image, ImageDraw

from benchmarks.product import running
from benchmarks.usage import Watch, cpu_seconds

SIZES = [int(size) for size in os.environ.get("SCALE_SIZES", "100,1000,10000").split(",")]
SECONDS = float(os.environ.get("SCALE_SECONDS", "30"))
PAGE = (400, 300)  # pixels; at 300 dpi that is what 96 × 72 points become
STAND_IN = r"""#!/bin/sh
case "$1" in
    --version) echo "tesseract 5.0-stand-in"; exit ;;
    --list-langs) printf 'List of available languages:\neng\n'; exit ;;
esac
row='%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n'
printf "$row$row$row" level page_num block_num par_num line_num word_num left top width height conf text \
    1 1 0 0 0 0 0 0 400 300 -1 '' 5 1 1 1 1 1 20 20 60 20 95 Page > "$2.tsv"
"""


def write_stand_in(folder: Path) -> None:
    """A `tesseract` in the folder, which is put first on the PATH."""
    (folder / "tesseract").write_text(STAND_IN)
    (folder / "tesseract").chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def draw(number: int) -> Image.Image:
    image = Image.new("L", PAGE, 255)
    ImageDraw.Draw(image).text((20, 20), f"Page {number}", fill=0, font_size=40)
    return image


def write_one_file(path: Path, pages: int) -> Path:
    """One PDF with so many pages, which are empty: the stand-in reads something all the same."""
    pdf = pdfium.PdfDocument.new()
    for _ in range(pages):
        pdf.new_page(96, 72)
    pdf.save(path)
    return path


# -------------------------------------------------------------- one batch


@dataclass
class Site:
    """The running product, and who uses it."""

    port: int
    users: list[Any] = field(default_factory=list)
    cookie: str = ""

    def get(self, path: str) -> float:
        """Milliseconds that the server takes for this page, read to its end."""
        request = Request(f"http://127.0.0.1:{self.port}{path}", headers={"Cookie": self.cookie})
        started = time.monotonic()
        with urlopen(request) as answer:
            answer.read()
        return 1000 * (time.monotonic() - started)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.monotonic()
    answer = work()
    return time.monotonic() - started, answer


def wait(what: Callable[[], Any], seconds: float = 600) -> float:
    """Seconds until `what` comes true."""
    started = time.monotonic()
    while not what():
        if time.monotonic() - started > seconds:
            raise TimeoutError
        time.sleep(0.02)
    return time.monotonic() - started


def create(user: Any, files: list[tuple[Path, str]]) -> Any:
    from batches.ocr import Options
    from batches.services import LocalFile, create_batch

    return create_batch(user, "scale", [LocalFile(path, name) for path, name in files], Options())


def claim_ms() -> tuple[float, int]:
    """Milliseconds and queries that a claim takes, the workers being busy; it is taken back at once."""
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    from batches.models import Page

    times, queries = [], 0
    for _ in range(15):
        with transaction.atomic(), CaptureQueriesContext(connection) as captured:
            seconds, _ = timed(Page.objects.claim)
            transaction.set_rollback(True)
        times.append(1000 * seconds)
        queries = max(queries, len(captured))
    return median(times), queries


def settle_queries() -> int:
    """Queries that one page's event takes, its broadcast left out."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from batches.models import Page
    from batches.ocr import PageResult
    from batches.tasks.outcomes import settle

    page = Page.objects.claim()
    assert page
    result = PageResult(text="", words=(), confidence=None, width=1, height=1, dpi=None, engine="", seconds=0)
    with CaptureQueriesContext(connection) as captured:
        settle(page, result)
    return len(captured)


def dom_ms(site: Site, path: str) -> float:
    """Milliseconds until Chromium has the page's elements; the best of three."""
    from playwright.sync_api import sync_playwright

    script = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page()
        value = site.cookie.split("=")[1]
        url = f"http://127.0.0.1:{site.port}"
        page.context.add_cookies([{"name": "sessionid", "value": value, "url": url}])
        page.goto(url)  # the styles and scripts are in the cache then, as they are for a user
        times = []
        for _ in range(3):
            page.goto(url + path)
            times.append(float(page.evaluate(script)))
        browser.close()
    return min(times)


@contextmanager
def removed(batch: Any) -> Iterator[None]:
    from batches.services import delete_batch

    try:
        yield
    finally:
        delete_batch(batch)


def measure(site: Site, name: str, files: list[tuple[Path, str]]) -> Iterator[str]:
    """The figures of one batch, `NAME VALUE`."""
    from batches.models import Page

    seconds, batch = timed(lambda: create(site.users[0], files))
    yield f"{name}_create_s {seconds:.2f}"
    with removed(batch), Watch() as watch:
        yield f"{name}_until_read_s {wait(lambda: Page.objects.filter(batch=batch, status='succeeded').exists()):.2f}"
        path = batch.get_absolute_url()
        times = sorted(site.get(path) for _ in range(15))
        yield f"{name}_live_page_ms {median(times):.0f}"
        yield f"{name}_live_page_dom_ms {dom_in_thread(site, path):.0f}"
        claim, queries = claim_ms()
        yield f"{name}_claim_ms {claim:.1f}"
        yield f"{name}_claim_queries {queries}"
        yield f"{name}_event_queries {settle_queries()}"
        yield f"{name}_other_users_page_s {other_users_page(site, files[0][0].with_name('card.png')):.2f}"
        started, before, spent = time.monotonic(), done(batch), cpu_seconds()
        wait(lambda: ended(batch) or (SECONDS and time.monotonic() - started > SECONDS), 3600)
        pages = done(batch) - before
        yield f"{name}_pages_per_minute {60 * pages / (time.monotonic() - started):.0f}"
        yield f"{name}_cpu_ms_per_page {1000 * (cpu_seconds() - spent) / max(1, pages):.0f}"
        for process in ("web", "worker"):
            first, last = watch.span(process)
            yield f"{name}_{process}_mb_at_first {first:.0f}"
            yield f"{name}_{process}_mb_at_last {last:.0f}"


def dom_in_thread(site: Site, path: str) -> float:
    """Playwright's loop has to stay out of this thread, which Django shall use."""
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(dom_ms(site, path)))
    thread.start()
    thread.join()
    return found[0]


def other_users_page(site: Site, card: Path) -> float:
    """Seconds from another user's submit until his one page is being read."""
    from batches.models import Page

    started = time.monotonic()
    batch = create(site.users[1], [(card, "card.png")])
    with removed(batch):
        wait(lambda: Page.objects.filter(batch=batch, claimed_at__isnull=False).exists(), 120)
        return time.monotonic() - started


def done(batch: Any) -> int:
    batch.refresh_from_db()
    return int(batch.succeeded)


def ended(batch: Any) -> bool:
    batch.refresh_from_db()
    return bool(batch.has_ended)


def sign_in(site: Site) -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    site.users = [User.objects.create_user(name) for name in ("ada", "eve")]
    client = Client()
    client.force_login(site.users[0])
    site.cookie = f"sessionid={client.cookies['sessionid'].value}"


def handed_over(kind: str, size: int, card: Path) -> list[tuple[Path, str]]:
    """So many pages: each a file, or all in one."""
    if kind == "files":
        return [(card, f"card-{number}.png") for number in range(1, size + 1)]
    return [(write_one_file(card.with_name("box.pdf"), size), "box.pdf")]


def main() -> None:
    figures = []
    with tempfile.TemporaryDirectory(prefix="ocr-scale-") as folder:
        card = Path(folder) / "card.png"
        draw(1).save(card)
        write_stand_in(Path(folder))
        with running() as port:
            site = Site(port)
            sign_in(site)
            for size in SIZES:
                for kind in ("files", "pdf"):
                    for figure in measure(site, f"{kind}_{size}", handed_over(kind, size, card)):
                        print(figure, flush=True)
                        figures.append(figure)
    print("\n".join(figures))


if __name__ == "__main__":
    main()
