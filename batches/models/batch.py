"""A batch: its counters, and each change of its state."""

import shutil
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from batches.errors import NothingRead, NothingToRead, OcrError
from batches.models.pace import Pace
from batches.ocr import Options

MAX_LOSSES = 3  # so often a worker may be lost over the same work


def lease() -> models.expressions.Combinable:
    """When a claim made now runs out, by the database's clock."""
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


class BatchQuerySet(models.QuerySet["Batch"]):
    """Many batches."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> Self:
        """A user's own batches; all of them for staff; none for a visitor."""
        if not user.is_active:
            return self.none()
        return self if getattr(user, "is_staff", False) else self.filter(owner_id=user.pk)

    def for_change(self) -> Self:
        """Rows locked until the transaction ends, each with the database's clock as `now`.

        On SQLite the transaction is the lock. The clock of this machine decides nothing: it may be wrong.
        """
        return self.select_for_update().annotate(now=Now())

    def locked(self, pk: uuid.UUID) -> "Batch":
        """The batch, to be changed. Raises DoesNotExist where it was deleted."""
        return self.for_change().get(pk=pk)

    def locked_if_there(self, pk: uuid.UUID) -> "Batch | None":
        """The same; None where it was deleted."""
        return self.for_change().filter(pk=pk).first()

    def to_prepare(self) -> Self:
        """Batches whose files wait to be looked at, and that nobody has in hand."""
        waiting = self.filter(status__in=[Batch.Status.QUEUED, Batch.Status.PREPARING])
        return waiting.filter(Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now()))

    def unended(self) -> Self:
        """Batches whose pages have all ended, though they themselves have not."""
        return self.filter(
            status__in=[Batch.Status.RUNNING, Batch.Status.PAUSED, Batch.Status.CANCELLING],
            total__lte=F("succeeded") + F("failed") + F("cancelled"),
        )

    def claim_preparation(self) -> "Batch | None":
        """Take in hand the batch whose turn it is to be prepared. A lease that ran out counts as a loss."""
        for batch in self.to_prepare().order_by(F("claimed_at").asc(nulls_first=True), "created")[:3]:
            lost = batch.losses + (batch.lease_expires_at is not None)
            held = self.to_prepare().filter(pk=batch.pk)
            claim = {"lease_expires_at": lease(), "claimed_at": Now(), "losses": lost}
            if held.update(attempt=F("attempt") + 1, **claim):
                return self.get(pk=batch.pk)
        return None


class Batch(models.Model):
    """A box of scans handed over together."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        PREPARING = "preparing"
        RUNNING = "running"
        PAUSED = "paused"
        CANCELLING = "cancelling"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
    READING = (Status.RUNNING, Status.PAUSED)
    OPEN = (Status.QUEUED, Status.PREPARING, *READING)  # there is, or will be, something left to read

    now: datetime  # the database's clock; only on a batch that is locked
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="batches")
    options = models.JSONField()
    preset = models.CharField(max_length=60, blank=True)  # the name of the one they came from, to be shown
    held = models.BooleanField(default=False)  # paused as soon as it could be read: something is tried first
    submission = models.UUIDField(null=True, blank=True, editable=False)  # the form it came from
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED, db_index=True)
    total = models.PositiveIntegerField(default=0)
    succeeded = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    cancelled = models.PositiveIntegerField(default=0)
    last_seq = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=30, blank=True)
    error_message = models.TextField(blank=True)
    created = models.DateTimeField(default=timezone.now)
    run_started = models.DateTimeField(null=True, blank=True)  # when reading began, or began again
    run_offset = models.PositiveIntegerField(default=0)  # pages that had been read or failed by then
    page_ended = models.DateTimeField(null=True, blank=True)  # the latest; or when reading began
    pace_pages = models.PositiveIntegerField(default=0)  # see Pace
    pace_mean = models.FloatField(default=0.0)  # seconds
    pace_variance = models.FloatField(default=0.0)
    finished = models.DateTimeField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)  # of the worker that prepares it
    claimed_at = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0)  # of its preparation; only ever grows
    losses = models.PositiveSmallIntegerField(default=0)

    objects = BatchQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "batches"
        ordering = ("-created",)
        constraints = (
            models.CheckConstraint(
                condition=Q(total__gte=F("succeeded") + F("failed") + F("cancelled")),
                name="batch_counts_within_total",
            ),
            models.UniqueConstraint(fields=["owner", "submission"], name="batch_submitted_once"),
        )

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("batches:detail", args=[self.pk])

    # -------------------------------------------------------------- what a reader sees

    @property
    def current(self) -> int:
        """Pages that have ended."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def percentage(self) -> float:
        """Of the pages, how many have ended: 0.0–100.0, two decimals."""
        return round(100 * self.current / self.total, 2) if self.total else 0.0

    @property
    def has_ended(self) -> bool:
        return self.status in self.ENDED

    @property
    def pace(self) -> Pace:
        """How fast pages have been ending lately."""
        return Pace(self.pace_pages, self.pace_mean, self.pace_variance)

    @property
    def pages_per_minute(self) -> float | None:
        """While it runs, as of late; once it has ended, over the whole run. None before its second page."""
        if not self.finished:
            return self.pace.pages_per_minute
        done = self.succeeded + self.failed - self.run_offset
        ended = self.page_ended or self.finished  # a pause before the cancel does not count
        seconds = (ended - self.run_started).total_seconds() if self.run_started else 0
        return round(60 * done / seconds, 1) if done >= 2 and seconds > 0 else None

    @property
    def seconds_left(self) -> tuple[float, float] | None:
        """How long until its last page, from and to. None unless it runs and enough has been measured."""
        if self.status != self.Status.RUNNING:
            return None
        return self.pace.seconds_left(self.total - self.current)

    @property
    def folder(self) -> Path:
        """Where everything of this batch that is a file is kept."""
        return Path(settings.DATA_DIR) / "batches" / str(self.pk)

    def reading_options(self) -> Options:
        """How its pages are read. Raises BadOptions."""
        return Options.parse(self.options)

    # -------------------------------------------------------------- transitions

    def _move(self, old: Iterable[str], new: str, **fields: Any) -> bool:
        """Compare and set the status, with `fields` beside it."""
        if not Batch.objects.filter(pk=self.pk, status__in=list(old)).update(status=new, **fields):
            return False
        for name, value in {"status": new, **fields}.items():
            setattr(self, name, value)
        return True

    def prepare(self) -> bool:
        """The files are being looked at."""
        return self._move([self.Status.QUEUED], self.Status.PREPARING)

    def run(self) -> bool:
        """Pages may be read, from now on; or again, after a retry."""
        old = [self.Status.PREPARING, *self.ENDED]
        fields: dict[str, Any] = {"finished": None, "error_code": "", "error_message": ""}
        return self._move(old, self.Status.RUNNING, lease_expires_at=None, **fields, **self._measured_anew())

    def pause(self) -> bool:
        """Let the pages in hand end, and start none."""
        return self._move([self.Status.RUNNING], self.Status.PAUSED)

    def resume(self) -> bool:
        """Go on where it stood."""
        return self._move([self.Status.PAUSED], self.Status.RUNNING, held=False, **self._measured_anew())

    def read_as(self, preset: str, options: Options) -> bool:
        """Let what has not been read be read with these options. False: nothing is left to be read."""
        before = self.options
        if not self._move(self.OPEN, self.status, preset=preset, options=options.as_json(), held=False):
            return False
        self.pages.keep_options(before)
        return True

    def measure_anew(self) -> None:
        """What was measured so far says nothing of what comes: pages that had ended are read again."""
        self._move(self.READING, self.status, **self._measured_anew())

    def _measured_anew(self) -> dict[str, Any]:
        measured = {"run_started": self.now, "run_offset": self.succeeded + self.failed}
        return measured | {"page_ended": self.now, "pace_pages": 0, "pace_mean": 0.0, "pace_variance": 0.0}

    def queue_again(self) -> bool:
        """Back to the beginning, with files that nobody has looked at yet."""
        fields: dict[str, Any] = {"finished": None, "error_code": "", "error_message": "", "losses": 0}
        fields |= {"held": False}
        return self._move(self.ENDED, self.Status.QUEUED, run_started=None, pace_pages=0, **fields)

    def fail(self, error: OcrError) -> bool:
        """Preparation failed, or found nothing to read."""
        return self._end(
            [self.Status.QUEUED, self.Status.PREPARING], self.Status.FAILED, error, lease_expires_at=None
        )

    def cancel(self) -> bool:
        """Start nothing more. Ends at once unless pages are in hand: then `end_if_done` ends it."""
        if self._move(self.READING, self.Status.CANCELLING):
            return True
        waiting = [self.Status.QUEUED, self.Status.PREPARING]
        return self._end(waiting, self.Status.CANCELLED, lease_expires_at=None)

    def end_if_done(self) -> bool:
        """End the batch if its last page has ended. Call under the row's lock, with fresh counters."""
        if self.current < self.total:
            return False
        if self.status == self.Status.CANCELLING:
            return self._end([self.Status.CANCELLING], self.Status.CANCELLED)
        if self.succeeded:
            return self._end(self.READING, self.Status.COMPLETED)
        return self._end(self.READING, self.Status.FAILED, NothingRead())

    def _end(self, old: Iterable[str], new: str, error: OcrError | None = None, **fields: Any) -> bool:
        return self._move(
            old,
            new,
            finished=self.now,
            error_code=error.code if error else "",
            error_message=str(error) if error else "",
            **fields,
        )

    # -------------------------------------------------------------- counters, under the row's lock

    def count(self, status: str, n: int = 1) -> None:
        """`n` pages more (or fewer) have ended as `status`."""
        setattr(self, status, getattr(self, status) + n)
        self.save(update_fields=[status])

    def page_has_ended(self, status: str) -> None:
        """One page more has ended as `status`; what that says of the pace is kept."""
        fields = [status]
        setattr(self, status, getattr(self, status) + 1)
        if self.status == self.Status.RUNNING and self.page_ended:
            pace = self.pace.after((self.now - self.page_ended).total_seconds())
            self.pace_pages, self.pace_mean, self.pace_variance = pace.pages, pace.mean, pace.variance
            self.page_ended = self.now
            fields += ["pace_pages", "pace_mean", "pace_variance", "page_ended"]
        self.save(update_fields=fields)

    def next_seqs(self, n: int) -> range:
        """The next `n` event numbers, taken for good."""
        first = self.last_seq + 1
        self.last_seq += n
        self.save(update_fields=["last_seq"])
        return range(first, self.last_seq + 1)

    def start_or_fail(self) -> None:
        """Preparation is over: read what there is, unless it is held; or end if there is nothing."""
        if self.total:
            self.pages.put_in_turn(settings.WORKER_SLOTS)
            self.run()
            if self.held:
                self.pause()
        else:
            self.fail(NothingToRead())

    def renew_preparation(self) -> bool:
        """Keep it in hand. False: it is no longer wanted, or no longer this attempt's."""
        waiting = [self.Status.QUEUED, self.Status.PREPARING]
        held = Batch.objects.filter(pk=self.pk, status__in=waiting, attempt=self.attempt)
        return bool(held.exclude(lease_expires_at=None).update(lease_expires_at=lease()))

    def release_preparation(self) -> None:
        """Let another worker go on with the files. After the third loss its file is out of the way."""
        waiting = Batch.objects.filter(pk=self.pk, status=self.Status.PREPARING)
        waiting.update(lease_expires_at=None, losses=self.losses if self.losses < MAX_LOSSES else 0)

    def remove_if_deleted(self) -> None:
        """What was still written for a batch that has been deleted goes too."""
        if not Batch.objects.filter(pk=self.pk).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
