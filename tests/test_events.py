import logging
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import transaction

from batches import events
from batches.models import Batch, BatchEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(user) -> Batch:
    return Batch.objects.create(name="Box", owner=user, options={}, total=4, succeeded=1, failed=1)


def publish(batch: Batch, *types: Any) -> None:
    with transaction.atomic():
        locked = Batch.objects.locked(batch.pk)
        events.publish(locked, *(events.change(locked, type_) for type_ in types))


def test_events_are_numbered_without_a_hole(batch):
    publish(batch, "batch.preparing", "batch.running")
    publish(batch)
    publish(batch, "batch.cancelling")
    assert [event["seq"] for event in events.events_after(batch.pk, 0, 10)] == [1, 2, 3]
    assert [event["seq"] for event in events.events_after(batch.pk, 1, 1)] == [2]


def test_an_event_tells_the_whole_state(batch):
    publish(batch, "batch.running")
    (event,) = events.events_after(batch.pk, 0, 10)
    assert event.pop("at").endswith("Z")  # type: ignore[misc]
    assert event == {
        "seq": 1,
        "type": "batch.running",
        "batch": {
            "id": str(batch.pk), "name": "Box", "status": "queued", "current": 2, "total": 4, "percentage": 50.0,
            "succeeded": 1, "failed": 1, "cancelled": 0, "eta_seconds": None, "eta_range": None, "pages_per_minute": None, "error": None,
        },
    }  # fmt: skip


def test_what_is_rolled_back_takes_no_number(batch):
    with transaction.atomic():
        publish(batch, "batch.running")
        transaction.set_rollback(True)
    publish(batch, "batch.failed")
    assert list(BatchEvent.objects.values_list("seq", "type")) == [(1, "batch.failed")]


def test_an_event_costs_a_constant_number_of_queries(batch, django_assert_num_queries):
    with django_assert_num_queries(5):  # transaction ×2, lock, number, row
        publish(batch, "batch.running")


@async_to_sync
async def _heard(batch: Batch, act: Any) -> list[dict[str, Any]]:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(events.group_name(batch.pk), channel)
    await database_sync_to_async(act)()
    return [await layer.receive(channel)]


def test_the_broadcast_comes_after_the_commit_and_carries_the_events(batch):
    (message,) = _heard(batch, lambda: publish(batch, "batch.running"))
    assert message["type"] == "batch.events"
    assert [event["seq"] for event in message["events"]] == [message["seq"]] == [1]


def test_of_many_events_only_the_number_is_broadcast(batch):
    (message,) = _heard(batch, lambda: publish(batch, *["file.accepted"] * 30))
    assert (message["seq"], message["events"]) == (30, [])


def test_a_broadcast_that_fails_costs_nothing(batch, settings, caplog):
    layer = settings.CHANNEL_LAYERS["default"]
    hosts = [{"address": "unix:///nowhere/redis.sock"}]
    settings.CHANNEL_LAYERS = {"default": layer | {"CONFIG": {"hosts": hosts}}}
    with caplog.at_level(logging.WARNING):
        publish(batch, "batch.running")
    assert "saved but not broadcast" in caplog.text
    assert BatchEvent.objects.count() == 1
