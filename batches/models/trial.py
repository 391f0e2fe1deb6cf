"""A page read on trial: what a preset would make of it, without touching the page."""

from pathlib import Path
from typing import Any, Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from batches.errors import OcrError
from batches.models.batch import Batch, lease
from batches.models.page import Page
from batches.models.turns import BIG
from batches.ocr import Options, PageResult


class TrialQuerySet(models.QuerySet["Trial"]):
    """Many trials."""

    def claim(self, *, big: bool = True) -> "Trial | None":
        """Take in hand the trial that has waited longest, for one attempt; `big`: it may be of a big page."""
        waiting = self.waiting() if big else self.waiting().filter(page__weight__lt=BIG)
        for pk in waiting.order_by("pk").values_list("pk", flat=True)[:5]:
            claim = {"attempt": F("attempt") + 1, "lease_expires_at": lease()}
            if self.waiting().filter(pk=pk).update(status=Trial.Status.RUNNING, **claim):
                return self.select_related("batch", "page__source__batch").filter(pk=pk).first()
        return None

    def waiting(self) -> Self:
        """Those that a worker may claim."""
        return self.filter(status=Trial.Status.QUEUED, batch__status__in=Batch.OPEN)

    def open(self) -> Self:
        """Those that have not ended."""
        return self.filter(status__in=[Trial.Status.QUEUED, Trial.Status.RUNNING])

    def abandoned(self) -> Self:
        """Those in hand whose worker has not been heard of within its lease."""
        return self.filter(status=Trial.Status.RUNNING, lease_expires_at__lt=Now())


class Trial(models.Model):
    """One page of a batch, read with one of the two presets (`side` 1 or 2) that are compared there.

    Removed with those it is compared with, when others are tried or the batch is cancelled: who has it in
    hand then finds it gone, and stops.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="trials")
    # Pages go with their batch, and so do trials: to look for theirs would make a large batch slow to delete.
    page = models.ForeignKey(Page, on_delete=models.DO_NOTHING, related_name="trials")
    side = models.PositiveSmallIntegerField()
    preset = models.CharField(max_length=60)  # its name
    options = models.JSONField()
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    losses = models.PositiveSmallIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    text = models.TextField(blank=True)
    words = models.PositiveIntegerField(default=0)
    confidence = models.FloatField(null=True, blank=True)  # mean over the words, 0–100
    seconds = models.FloatField(null=True, blank=True)  # to open the page and to read it
    note = models.TextField(blank=True)
    error_code = models.CharField(max_length=30, blank=True)
    error_message = models.TextField(blank=True)
    created = models.DateTimeField(db_default=Now())

    objects = TrialQuerySet.as_manager()

    class Meta:
        ordering = ("page__number", "side")
        constraints = (
            models.UniqueConstraint(fields=["page", "side"], name="trial_side_unique_for_page"),
            models.CheckConstraint(
                condition=Q(status="running", lease_expires_at__isnull=False)
                | (~Q(status="running") & Q(lease_expires_at=None)),
                name="trial_running_has_lease",
            ),
        )
        indexes = (
            models.Index(fields=["status"], name="trial_open", condition=Q(status__in=["queued", "running"])),
        )

    def __str__(self) -> str:
        return f"{self.page} as {self.preset}"

    @property
    def is_big(self) -> bool:
        """Whether its page is one that a machine reads one at a time."""
        return self.page.is_big

    def reading_options(self) -> Options:
        """How it is read. Raises BadOptions."""
        return Options.parse(self.options)

    @property
    def image_path(self) -> Path:
        """The page as people see it, for the first side: the other one reads the same page."""
        return self.batch.folder / "trials" / f"{self.pk}.jpg"

    @property
    def has_ended(self) -> bool:
        return self.status in (self.Status.SUCCEEDED, self.Status.FAILED)

    def renew(self) -> bool:
        """Keep it in hand. False: it is gone, or no longer this attempt's."""
        return bool(self._held().update(lease_expires_at=lease()))

    def succeed(self, result: PageResult, seconds: float) -> bool:
        """This attempt has read the page, in so many seconds."""
        return self._end(
            self.Status.SUCCEEDED,
            text=result.text,
            words=len(result.words),
            confidence=result.confidence,
            note=result.note,
            seconds=seconds,
        )

    def fail(self, error: OcrError) -> bool:
        """This attempt could not read the page."""
        return self._end(self.Status.FAILED, error_code=error.code, error_message=str(error))

    def lose(self) -> bool:
        """The worker of this attempt is gone: back into the queue."""
        return self._end(self.Status.QUEUED, losses=self.losses + 1)

    def _held(self) -> TrialQuerySet:
        return Trial.objects.filter(pk=self.pk, status=self.Status.RUNNING, attempt=self.attempt)

    def _end(self, new: str, **fields: Any) -> bool:
        fields |= {"status": new, "lease_expires_at": None}
        if not self._held().update(**fields):
            return False
        for name, value in fields.items():
            setattr(self, name, value)
        return True
