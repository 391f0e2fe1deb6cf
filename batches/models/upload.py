"""A file on its way: handed over piece by piece, before there is a batch."""

import os
import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from batches.errors import OcrError

KEPT = timedelta(hours=24)  # so long after its last sign of life a draft is kept


class UploadQuerySet(models.QuerySet["Upload"]):
    """Many uploads. Those of one owner with one `submission` are a draft: a batch to be."""

    def lock_drafts(self, owner: User) -> None:
        """Until the transaction ends nobody else adds to the owner's drafts, or starts one."""
        User.objects.select_for_update(no_key=True).get(pk=owner.pk)

    def of_draft(self, owner: User, submission: uuid.UUID) -> Self:
        """The files of one draft."""
        return self.filter(owner=owner, submission=submission)

    def abandoned(self) -> Self:
        """Those of drafts that nobody has added to for as long as KEPT, by the database's clock."""
        same = Upload.objects.filter(owner=OuterRef("owner"), submission=OuterRef("submission"))
        return self.exclude(Exists(same.filter(updated__gte=Now() - KEPT)))


class Upload(models.Model):
    """One file on its way. Its name is for display only: on disk it has one of ours."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads")
    submission = models.UUIDField()  # the form it belongs to
    fingerprint = models.CharField(max_length=100)  # the browser's: tells the same file when it comes again
    name = models.CharField(max_length=255)  # with the folders it was in
    size = models.PositiveBigIntegerField()  # bytes, when it is whole
    offset = models.PositiveBigIntegerField(default=0)  # bytes that are safe on the disk
    sha256 = models.CharField(max_length=64, blank=True)  # once it is whole
    error_code = models.CharField(max_length=30, blank=True)  # it will be refused, and why
    error_message = models.TextField(blank=True)
    created = models.DateTimeField(default=timezone.now)
    updated = models.DateTimeField(db_default=Now())

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ("created",)
        constraints = (
            models.CheckConstraint(condition=Q(offset__lte=F("size")), name="upload_offset_within_size"),
            models.UniqueConstraint(
                fields=["owner", "submission", "fingerprint", "size"], name="upload_once_in_draft"
            ),
        )
        indexes = (models.Index(fields=["updated"], name="upload_updated"),)

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return Path(settings.DATA_DIR) / "uploads" / str(self.pk)

    @property
    def arrived(self) -> int:
        """Bytes that are there, whatever crashed: what the row and the file agree on."""
        try:
            return min(self.offset, self.path.stat().st_size)
        except FileNotFoundError:
            return 0

    @property
    def is_whole(self) -> bool:
        return bool(self.sha256) and self.arrived == self.size

    @property
    def expires(self) -> datetime:
        return self.updated + KEPT

    def advance(self, offset: int, sha256: str, error: OcrError | None) -> bool:
        """So many bytes are safe on the disk. False: it is gone, or somebody else was first."""
        fields: dict[str, Any] = {"offset": offset, "sha256": sha256}
        if error:
            fields |= {"error_code": error.code, "error_message": str(error)}
        if not Upload.objects.filter(pk=self.pk, offset=self.offset).update(updated=Now(), **fields):
            return False
        self.refresh_from_db()
        return True

    def put(self, path: Path) -> None:
        """Let the file stand at `path` too, without copying it where the file system can."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.path, path)
        except FileNotFoundError:
            raise
        except OSError:  # a file system that knows no links
            copyfile(self.path, path)

    def remove(self) -> bool:
        """The row and the file. False: it was gone."""
        gone = bool(Upload.objects.filter(pk=self.pk).delete()[0])
        self.drop_file()
        return gone

    def drop_file(self) -> None:
        """The bytes are not needed here any more."""
        with suppress(FileNotFoundError):
            self.path.unlink()
