"""What must not grow with a batch: the queries that a claim, a page's event and the live page take."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from batches.models import Batch, Page, SourceFile
from batches.ocr import PageResult
from batches.tasks.outcomes import settle
from tests.conftest import client_of

pytestmark = pytest.mark.django_db(transaction=True)

RESULT = PageResult(text="", words=(), confidence=None, width=1, height=1, dpi=None, engine="", seconds=0)
SIZES = (25, 1000)  # both have more pages read than the live page shows


@pytest.fixture(params=["one file", "a file a page"])
def batch_of(request, user) -> Callable[[int], Batch]:
    """A batch of so many pages, most of them read."""

    def make(pages: int) -> Batch:
        Batch.objects.all().delete()
        batch = Batch.objects.create(
            name="Box", owner=user, options={}, total=pages, succeeded=pages - 3, status="running"
        )
        names = range(1, pages + 1) if request.param == "a file a page" else [1]
        files = [SourceFile(batch=batch, position=n, name=f"{n}.png", size=1) for n in names]
        SourceFile.objects.bulk_create(files)
        Page.objects.bulk_create(
            Page(
                batch=batch,
                source=files[min(n, len(files)) - 1],
                index=n,
                number=n,
                status="queued" if n > pages - 3 else "succeeded",
            )
            for n in range(1, pages + 1)
        )
        return batch

    return make


def counted(work: Callable[[], Any]) -> tuple[int, Any]:
    with CaptureQueriesContext(connection) as captured:
        answer = work()
    return len(captured), answer


def queries(batch: Batch, user: Any) -> dict[str, int]:
    claim, page = counted(Page.objects.claim)
    event, settled = counted(lambda: settle(page, RESULT))
    assert settled
    client = client_of(user)
    live, answer = counted(lambda: client.get(batch.get_absolute_url()))
    assert answer.status_code == 200
    poll, answer = counted(lambda: client.get(f"{batch.get_absolute_url()}events/?after=0"))
    assert len(answer.json()["events"]) == 1
    return {"claim": claim, "event": event, "live page": live, "poll": poll}


def test_a_batch_forty_times_the_size_takes_no_query_more(batch_of, user):
    small, large = (queries(batch_of(size), user) for size in SIZES)
    assert small == large
    # A claim: begin, whose turn it is, the page, the compare-and-set, the page with its batch, commit. An event:
    # begin, lock, the page, the counter, the number, the event, commit. Each more costs every page.
    assert small["claim"] <= 6
    assert small["event"] <= 7
    assert small["live page"] <= 8
    assert small["poll"] <= 4
