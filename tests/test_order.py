"""The order in which pages are begun: by their numbers, and no heavy page is left over at the end."""

import heapq
import random
import time
from collections.abc import Callable

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from batches.models import Batch, Page, SourceFile
from batches.models.turns import BIG, MUCH, Load, turns
from batches.ocr import Options

A4 = 8.7  # megapixels at 300 dpi


def in_turn(weights: list[float], slots: int) -> list[float]:
    """The weights in the order in which the pages are begun."""
    moved = dict(turns(reversed(list(enumerate(weights, 1))), load_of(weights), slots))
    numbered = [(moved.get(number, number), -weight, number) for number, weight in enumerate(weights, 1)]
    return [-weight for _, weight, _ in sorted(numbered)]


def load_of(weights: list[float]) -> Load:
    return Load(sum(weights) / len(weights), max(weights), sum(weight for weight in weights if weight >= BIG))


def ends_after(weights: list[float], slots: int) -> float:
    """When the last page ends, if so many slots read them in this order; of the big ones one at a time."""
    waiting, busy = list(weights), [0.0] * slots
    last = big_until = 0.0
    while waiting:
        now = heapq.heappop(busy)
        page = next((n for n, weight in enumerate(waiting) if weight < BIG or now >= big_until), None)
        if page is None:
            heapq.heappush(busy, big_until)
            continue
        weight = waiting.pop(page)
        last = max(last, now + weight)
        big_until = now + weight if weight >= BIG else big_until
        heapq.heappush(busy, now + weight)
    return last


def bound(weights: list[float], slots: int) -> float:
    """Nothing can end sooner."""
    return max(sum(weights) / slots, max(weights), sum(weight for weight in weights if weight >= BIG))


def drawn(seed: int) -> tuple[list[float], int]:
    """A batch as it might come: cards or letters, and some maps among them, or at the end."""
    dice = random.Random(seed)
    ordinary, heavy = dice.choice([(1.0, 8.0), (A4, 34.0), (A4, 100.0), (4.0, 17.0)])
    weights = [ordinary * dice.uniform(0.9, 1.1) for _ in range(dice.randrange(40, 400))]
    for _ in range(dice.randrange(1, 12)):
        at = len(weights) if dice.random() < 0.5 else dice.randrange(len(weights))
        weights.insert(at, heavy * dice.uniform(0.6, 1.1))
    return weights, dice.choice([2, 3, 4, 8, 16])


def test_one_heavy_page_at_the_end_is_begun_while_the_others_keep_the_slots_busy():
    weights = [1.0] * 40 + [8.0]
    order = in_turn(weights, 4)
    assert order.index(8.0) == 40 - 4 * 8
    assert ends_after(order, 4) == bound(weights, 4) == 12
    assert ends_after(weights, 4) == 18


def test_batches_end_as_early_as_they_can():
    """Within a page of what is possible, whatever the weights."""
    for seed in range(300):
        weights, slots = drawn(seed)
        spare = MUCH * sum(weights) / len(weights)
        assert ends_after(in_turn(weights, slots), slots) <= bound(weights, slots) * 1.03 + spare, seed


def test_they_end_earlier_than_by_their_numbers():
    gained = []
    for seed in range(100):
        weights, slots = drawn(seed)
        gained.append(ends_after(weights, slots) / ends_after(in_turn(weights, slots), slots))
    assert min(gained) > 0.97
    assert sum(gained) / len(gained) > 1.05


def test_every_page_is_begun_once_and_light_ones_keep_their_order():
    weights, slots = drawn(7)
    order = in_turn(weights, slots)
    assert sorted(order) == sorted(weights)
    light = [weight for weight in weights if weight <= MUCH * load_of(weights).mean]
    assert [weight for weight in order if weight in set(light)] == light


def test_heavy_pages_far_from_the_end_stay_where_they_are():
    weights = [1.0] * 10 + [8.0] + [1.0] * 100
    assert in_turn(weights, 4) == weights


def test_nothing_but_heavy_pages_stays_as_it_is():
    assert in_turn([90.0, 80.0, 100.0], 4) == [90.0, 80.0, 100.0]


# ------------------------------------------------------------------ in the database


@pytest.fixture
def batch_of(user) -> Callable[[list[float]], Batch]:
    """A batch that is prepared, with pages of these weights."""

    def make(weights: list[float]) -> Batch:
        batch = Batch.objects.create(
            name="Box", owner=user, options=Options().as_json(), status="preparing", total=len(weights)
        )
        source = SourceFile.objects.create(batch=batch, position=1, name="box.tif", size=1, status="accepted")
        Page.objects.bulk_create(
            (
                Page(batch=batch, source=source, number=n, turn=n, index=n, weight=weight)
                for n, weight in enumerate(weights, 1)
            ),
            batch_size=5000,
        )
        return Batch.objects.locked(batch.pk)

    return make


def claimed(n: int) -> list[int]:
    pages = [Page.objects.claim() for _ in range(n)]
    return [page.number for page in pages if page]


@pytest.mark.django_db
def test_pages_are_claimed_in_turn(batch_of, settings):
    settings.WORKER_SLOTS = 2
    batch_of([1, 1, 1, 1, 1, 1, 3, 4]).start_or_fail()
    assert claimed(9) == [8, 7, 1, 2, 3, 4, 5, 6]


@pytest.mark.django_db
def test_even_pages_are_claimed_by_number_and_cost_no_update(batch_of):
    batch = batch_of([A4, 0.9 * A4, 0, 1.1 * A4, A4])
    with CaptureQueriesContext(connection) as queries:
        batch.pages.put_in_turn(2)
    assert len(queries) == 1, "one look at the weights"
    batch.start_or_fail()
    assert claimed(5) == [1, 2, 3, 4, 5]


@pytest.mark.django_db
def test_pages_of_unknown_weight_are_claimed_by_number(batch_of):
    batch_of([0.0] * 4).start_or_fail()
    assert claimed(4) == [1, 2, 3, 4]


@pytest.mark.django_db
def test_many_pages_are_put_in_turn_with_few_queries_and_at_once(batch_of):
    """100,000 took 0.04 s, and 0.7 s with 2,000 big ones at their end, on a busy machine."""
    batch = batch_of([A4] * 4_980 + [100.0] * 20)
    started = time.monotonic()
    with CaptureQueriesContext(connection) as queries:
        batch.pages.put_in_turn(8)
    assert time.monotonic() - started < 0.5
    assert len(queries) <= 5, "the weights, the pages from the end, the moved ones: begin, update, commit"
    assert batch.pages.exclude(turn=F("number")).count() == 20
