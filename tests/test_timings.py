"""Where the time of a page goes: measured by the product itself, saved with the page, shown to staff."""

import pytest

from batches import tasks
from batches.models import Batch, Page
from batches.stages import STAGES, Stages
from tests.conftest import client_of, prepare_next


@pytest.fixture
def batch(make_batch) -> Batch:
    """Of one page, which waits to be read."""
    batch: Batch = make_batch(1)
    prepare_next()
    return batch


def set_timings(batch: Batch, timings: dict[str, float]) -> None:
    batch.pages.update(status="succeeded", timings=timings, lease_expires_at=None, engine="Tesseract 5.3.0")


def test_each_page_says_how_long_each_stage_took(batch: Batch):
    page = Page.objects.claim()
    assert page
    tasks.read(page)
    page = batch.pages.get()
    assert page.timings.keys() <= STAGES.keys()
    assert page.timings.keys() >= {"open", "recognise", "parse", "write", "event"}
    assert all(seconds >= 0 for seconds in page.timings.values())
    assert page.timings["recognise"] > max(page.timings["parse"], page.timings["event"])


def test_a_stage_that_comes_again_adds_up():
    stages = Stages({"open": 1.0})
    stages.add("recognise", 2.0)
    stages.add("recognise", 0.5)
    assert stages.seconds == {"open": 1.0, "recognise": 2.5}


def test_the_mean_is_over_all_pages_that_were_measured(make_batch):
    """A stage that a page went without counts as none: the sum of the means is what a page takes."""
    batch = make_batch(3)
    prepare_next()
    first, second, _ = batch.pages.all()
    for page, timings in ((first, {"open": 0.5, "recognise": 3.0}), (second, {"open": 0.25})):
        Page.objects.filter(pk=page.pk).update(status="succeeded", timings=timings)
    none = dict.fromkeys(STAGES, 0.0)
    assert batch.pages.mean_seconds() == none | {"open": 0.375, "recognise": 1.5}


def test_the_mean_of_nothing_is_nothing(batch: Batch):
    assert batch.pages.mean_seconds() == {}


def test_a_late_remark_on_a_page_that_is_read_anew_changes_nothing(batch: Batch):
    page = Page.objects.claim()
    assert page
    tasks.read(page)
    batch.pages.update(attempt=2)
    before = batch.pages.get().timings
    page.told(99)
    assert batch.pages.get().timings == before


def test_staff_see_where_the_time_goes(batch: Batch, user, staff):
    set_timings(batch, {"open": 0.25, "recognise": 0.75})
    content = client_of(staff).get(batch.get_absolute_url()).content.decode()
    assert '<th scope="row">Recognising</th><td>0.750</td><td>75.0 %</td>' in content
    assert "Where the time" not in client_of(user).get(batch.get_absolute_url()).content.decode()


def test_the_batch_says_which_engines_read_it(make_batch, user):
    batch = make_batch(3)
    prepare_next()
    for page, engine in zip(
        batch.pages.all(), ("Tesseract 5.3.0", "", "Tesseract 5.5.4 (tesserocr)"), strict=True
    ):
        Page.objects.filter(pk=page.pk).update(engine=engine)
    content = client_of(user).get(batch.get_absolute_url()).content.decode()
    assert "Read by Tesseract 5.3.0, Tesseract 5.5.4 (tesserocr)" in content


def test_it_costs_the_same_for_many_pages(batch: Batch, staff, django_assert_num_queries):
    set_timings(batch, {"open": 0.25})
    client = client_of(staff)
    with django_assert_num_queries(9):  # as for the owner, and the means
        client.get(batch.get_absolute_url())
