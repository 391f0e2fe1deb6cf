"""A file as it was handed over, and whether it can be read."""

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from django.db import models

from batches.documents import Document, Kind, Member
from batches.errors import OcrError, retryable_codes
from batches.models.batch import Batch
from batches.names import shown


class SourceFileQuerySet(models.QuerySet["SourceFile"]):
    """Many files."""

    def readmit(self) -> int:
        """Those refused for a reason that may have passed are to be looked at again."""
        refused = self.filter(status=SourceFile.Status.REJECTED, error_code__in=retryable_codes())
        return refused.update(status=SourceFile.Status.QUEUED, error_code="", error_message="")

    def waiting(self) -> Self:
        """Those that nobody has looked at yet, in their order."""
        return self.filter(status=SourceFile.Status.QUEUED).order_by("position", "member")

    def originals(self, contents: Iterable[str]) -> "dict[str, SourceFile]":
        """Of each content (SHA-256) the first file that was accepted, where there is one."""
        same = self.filter(sha256__in=set(contents), status=SourceFile.Status.ACCEPTED)
        return {file.sha256: file for file in same.order_by("-position", "-member")}

    def add_members(self, archive: "SourceFile", members: Iterable[Member]) -> None:
        """The files of an archive, in its place. They are unpacked when their turn comes."""
        files = (
            SourceFile(
                batch_id=archive.batch_id,
                position=archive.position,
                member=number,
                name=shown(f"{archive.name}/{member.name}", 255),
                size=member.size,
            )
            for number, member in enumerate(members, 1)
        )
        self.bulk_create(files, batch_size=1000)


class SourceFile(models.Model):
    """One file as it was handed over, or as it came out of an archive.

    Its name is for display only: on disk it has one of ours.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        ACCEPTED = "accepted"
        REJECTED = "rejected"
        UNPACKED = "unpacked"  # an archive, whose files follow it

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="files")
    position = models.PositiveIntegerField()  # in the batch, from 1
    member = models.PositiveIntegerField(default=0)  # in the archive at this position, from 1; 0: no member
    name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64, blank=True)  # of a member, once it is unpacked
    size = models.PositiveBigIntegerField()  # bytes
    kind = models.CharField(max_length=10, blank=True)
    page_count = models.PositiveIntegerField(default=0)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    error_code = models.CharField(max_length=30, blank=True)
    error_message = models.TextField(blank=True)
    note = models.TextField(blank=True)  # a remark for the user, where something is worth knowing

    objects = SourceFileQuerySet.as_manager()

    class Meta:
        ordering = ("position", "member")
        constraints = (
            models.UniqueConstraint(
                fields=["batch", "position", "member"], name="file_member_unique_in_batch"
            ),
        )
        indexes = (
            models.Index(fields=["batch", "status", "position"], name="file_batch_status"),
            models.Index(fields=["batch", "sha256"], name="file_batch_sha256"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return self.batch.folder / "sources" / str(self.pk)

    @property
    def archive(self) -> "SourceFile":
        """The archive that this member came in."""
        return self.batch.files.get(position=self.position, member=0)

    def accept(self, document: Document, original: "SourceFile | None" = None) -> bool:
        """It can be read, and has so many pages. `original`: a file of the batch with the same content."""
        twin = original is not None and (original.position, original.member) < (self.position, self.member)
        notes = [document.note, f"The same file as {original}: both are read." if twin else ""]
        return self._move(
            self.Status.ACCEPTED,
            kind=document.kind.value,
            page_count=document.pages,
            note=" ".join(filter(None, notes)),
            **self._content(),
        )

    def unpack(self) -> bool:
        """It is an archive: its files are taken in its stead."""
        return self._move(self.Status.UNPACKED, kind=Kind.ZIP.value)

    def reject(self, error: OcrError) -> bool:
        """It cannot be read, for this reason; its neighbours go on."""
        return self._move(
            self.Status.REJECTED, error_code=error.code, error_message=str(error), **self._content()
        )

    def _content(self) -> dict[str, Any]:
        """What is known of a member only now."""
        return {"sha256": self.sha256, "size": self.size}

    def _move(self, new: str, **fields: Any) -> bool:
        waiting = SourceFile.objects.filter(pk=self.pk, status=self.Status.QUEUED)
        if not waiting.update(status=new, **fields):
            return False
        for name, value in {"status": new, **fields}.items():
            setattr(self, name, value)
        return True
