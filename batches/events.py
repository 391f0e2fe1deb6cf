"""What is told about a batch: the events, their group, and the one way to publish them.

Saved first, broadcast after the commit: the database is the truth, the broadcast only a doorbell.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, NotRequired, TypedDict
from uuid import UUID

from django.db import transaction

from batches.doorbell import ring
from batches.models import Batch, BatchEvent, Page, SourceFile

logger = logging.getLogger(__name__)

EventType = Literal[
    "batch.queued",
    "batch.preparing",
    "file.accepted",
    "file.rejected",
    "batch.running",
    "batch.paused",
    "batch.resumed",
    "page.succeeded",
    "page.failed",
    "batch.cancelling",
    "batch.completed",
    "batch.failed",
    "batch.cancelled",
    "batch.retried",
]
Subject = Page | SourceFile | None

BROADCAST_AT_MOST = 20  # events in one message; of more, only the number is told and they are looked up


class ErrorState(TypedDict):
    """Why something failed: a code from the closed list, and a sentence that says what to do."""

    code: str
    message: str


class BatchState(TypedDict):
    """A batch's whole progress: full counts, never deltas."""

    id: str
    name: str
    status: str
    current: int
    total: int
    percentage: float
    succeeded: int
    failed: int
    cancelled: int
    eta_seconds: int | None  # the middle of `eta_range`
    eta_range: tuple[int, int] | None  # seconds, from and to; None: too little has been measured
    pages_per_minute: float | None
    error: ErrorState | None


class PageState(TypedDict):
    """One page; `confidence` is 0–100. `recognised_before`: the same page was read earlier, and its text taken."""

    number: int
    filename: str
    status: str
    confidence: float | None
    seconds: float | None
    recognised_before: bool
    error: ErrorState | None


class FileState(TypedDict):
    """One file; `number` is its place in the batch, `member` in the archive there, from 1 (0: it is no member).

    `note` is a remark for the user, or empty.
    """

    number: int
    member: int
    name: str
    status: str
    pages: int
    note: str
    error: ErrorState | None


class Event(TypedDict):
    """One event, as sockets and polling answer it."""

    seq: int
    type: EventType
    at: str
    batch: BatchState
    message: NotRequired[str]  # how a cancelled batch ended, for a reader
    page: NotRequired[PageState]
    file: NotRequired[FileState]


class Snapshot(TypedDict):
    """Where a batch stands, and the last event that is counted in."""

    type: Literal["snapshot"]
    batch: BatchState
    seq: int


def group_name(batch_id: UUID) -> str:
    """The channel layer's group of everybody who watches this batch."""
    return f"batch.{batch_id}"


@dataclass(frozen=True)
class Change:
    """Something that happened to a batch, with everything that is told of it as it stood then."""

    type: EventType
    payload: dict[str, Any]


def change(batch: Batch, type_: EventType, subject: Subject = None) -> Change:
    """What there is to tell now; `subject` is the page or file that it is about."""
    payload: dict[str, Any] = {"batch": batch_state(batch)}
    if type_ == "batch.cancelled":
        payload["message"] = f"{batch.succeeded} kept, {batch.total - batch.succeeded} not read"
    match subject:
        case Page():
            payload["page"] = page_state(subject)
        case SourceFile():
            payload["file"] = file_state(subject)
    return Change(type_, payload)


def publish(batch: Batch, *changes: Change) -> None:
    """Save what happened, and broadcast it after the commit. Call under the batch row's lock.

    Several changes of one transaction go in one call: they cost one broadcast.
    """
    if not changes:
        return
    rows = [
        BatchEvent(batch=batch, seq=seq, type=change.type, created=batch.now, payload=change.payload)
        for seq, change in zip(batch.next_seqs(len(changes)), changes, strict=True)
    ]
    BatchEvent.objects.bulk_create(rows)
    told = [as_event(row) for row in rows] if len(rows) <= BROADCAST_AT_MOST else []
    transaction.on_commit(partial(_broadcast, batch.pk, batch.last_seq, told))


def snapshot(batch: Batch) -> Snapshot:
    """Where the batch stands now."""
    return {"type": "snapshot", "batch": batch_state(batch), "seq": batch.last_seq}


def events_after(batch_id: UUID, seq: int, limit: int) -> list[Event]:
    """The saved events that follow `seq`, in order, `limit` of them at the most."""
    rows = BatchEvent.objects.filter(batch_id=batch_id, seq__gt=seq).order_by("seq")
    return [as_event(row) for row in rows[:limit]]


def as_event(row: BatchEvent) -> Event:
    """A saved event as it is sent."""
    return {"seq": row.seq, "type": row.type, "at": _iso(row.created), **row.payload}  # type: ignore[typeddict-item]


def batch_state(batch: Batch) -> BatchState:
    """The `batch` part of an event."""
    left = batch.seconds_left
    return {
        "id": str(batch.pk),
        "name": batch.name,
        "status": batch.status,
        "current": batch.current,
        "total": batch.total,
        "percentage": batch.percentage,
        "succeeded": batch.succeeded,
        "failed": batch.failed,
        "cancelled": batch.cancelled,
        "eta_seconds": round(sum(left) / 2) if left else None,
        "eta_range": (round(left[0]), round(left[1])) if left else None,
        "pages_per_minute": batch.pages_per_minute,
        "error": _error_state(batch),
    }


def page_state(page: Page) -> PageState:
    """The `page` part of an event."""
    return {
        "number": page.number,
        "filename": page.source.name,
        "status": page.status,
        "confidence": page.confidence,
        "seconds": page.seconds,
        "recognised_before": page.recognised_before,
        "error": _error_state(page),
    }


def file_state(source: SourceFile) -> FileState:
    """The `file` part of an event."""
    return {
        "number": source.position,
        "member": source.member,
        "name": source.name,
        "status": source.status,
        "pages": source.page_count,
        "note": source.note,
        "error": _error_state(source),
    }


def _error_state(row: Batch | Page | SourceFile) -> ErrorState | None:
    return {"code": row.error_code, "message": row.error_message} if row.error_code else None


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _broadcast(batch_id: UUID, seq: int, events: list[Event]) -> None:
    """Ring the doorbell. Whatever goes wrong costs delay and nothing else: sockets look for themselves."""
    message = {"type": "batch.events", "seq": seq, "events": events}
    try:
        ring(group_name(batch_id), message)
    except Exception as error:  # the layer's backend decides what it raises
        logger.warning("Event %s of batch %s was saved but not broadcast: %s", seq, batch_id, error)
