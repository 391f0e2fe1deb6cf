"""A file as it was handed over, and whether it can be read."""

import uuid
from pathlib import Path
from typing import Any

from django.db import models

from batches.documents import Document
from batches.errors import OcrError, retryable_codes
from batches.models.batch import Batch


class SourceFileQuerySet(models.QuerySet["SourceFile"]):
    """Many files."""

    def readmit(self) -> int:
        """Those refused for a reason that may have passed are to be looked at again."""
        refused = self.filter(status=SourceFile.Status.REJECTED, error_code__in=retryable_codes())
        return refused.update(status=SourceFile.Status.QUEUED, error_code="", error_message="")


class SourceFile(models.Model):
    """One file as it was handed over. Its name is for display only: on disk it has one of ours."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        ACCEPTED = "accepted"
        REJECTED = "rejected"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="files")
    position = models.PositiveIntegerField()  # in the batch, from 1
    name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()  # bytes
    kind = models.CharField(max_length=10, blank=True)
    page_count = models.PositiveIntegerField(default=0)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    error_code = models.CharField(max_length=30, blank=True)
    error_message = models.TextField(blank=True)

    objects = SourceFileQuerySet.as_manager()

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=["batch", "position"], name="file_position_unique_in_batch"),
        )
        indexes = (models.Index(fields=["batch", "status", "position"], name="file_batch_status"),)

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return self.batch.folder / "sources" / str(self.pk)

    def accept(self, document: Document) -> bool:
        """It can be read, and has so many pages."""
        return self._move(
            self.Status.ACCEPTED, kind=document.kind.value, page_count=document.pages, error_code=""
        )

    def reject(self, error: OcrError) -> bool:
        """It cannot be read, for this reason; its neighbours go on."""
        return self._move(self.Status.REJECTED, error_code=error.code, error_message=str(error))

    def _move(self, new: str, **fields: Any) -> bool:
        waiting = SourceFile.objects.filter(pk=self.pk, status=self.Status.QUEUED)
        if not waiting.update(status=new, **fields):
            return False
        for name, value in {"status": new, **fields}.items():
            setattr(self, name, value)
        return True
