"""Files on their way to a batch: begun, added to piece by piece, removed. Nothing is lost by a crash."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, F, Max, QuerySet, Sum
from django.template.defaultfilters import filesizeformat

from batches.documents.kinds import HEAD_BYTES, kind_of_head
from batches.errors import NO_SPACE, BatchTooLarge, HandedOver, NoSpace, OcrError, TooLarge, TooManyFiles
from batches.limits import check_room
from batches.models import Batch, Upload
from batches.names import shown

PIECE = 1 << 20  # bytes that are copied at a time


class Body(Protocol):
    """What is sent: Django's request is one."""

    def read(self, size: int, /) -> bytes: ...


class WrongOffset(Exception):
    """The piece does not begin where the file ends so far."""


class InHand(Exception):
    """Another piece of the same file is being written."""


class TooLong(Exception):
    """More was sent than the file was said to have."""


@transaction.atomic
def begin(owner: User, submission: UUID, name: str, size: int, fingerprint: str) -> Upload:
    """A file of so many bytes is coming; the same one again where it was begun already in this draft.

    Raises TooLarge, BatchTooLarge, TooManyFiles, TooManyBatches, HandedOver or NoSpace.
    """
    Upload.objects.lock_drafts(owner)  # one at a time: the sums must hold
    draft = Upload.objects.of_draft(owner, submission)
    if upload := draft.filter(fingerprint=fingerprint, size=size).first():
        return upload
    _check_limits(owner, submission, draft, size)
    return Upload.objects.create(
        owner=owner, submission=submission, name=shown(name, 255), size=size, fingerprint=fingerprint
    )


def _check_limits(owner: User, submission: UUID, draft: QuerySet[Upload], size: int) -> None:
    if Batch.objects.filter(owner=owner, submission=submission).exists():
        raise HandedOver
    if size > settings.MAX_FILE_BYTES:
        limit = filesizeformat(settings.MAX_FILE_BYTES)
        raise TooLarge(f"Larger than the {limit} that a file may have here. Split it, or leave it out.")
    there = draft.aggregate(files=Count("pk"), bytes=Sum("size", default=0))
    if there["files"] >= settings.MAX_FILES_PER_UPLOAD:
        raise TooManyFiles
    if there["bytes"] + size > settings.MAX_BATCH_BYTES:
        raise BatchTooLarge
    if not there["files"]:
        others = Upload.objects.filter(owner=owner).values("submission").distinct().count()
        check_room(owner, size, drafts=others)
    coming = Upload.objects.aggregate(bytes=Sum(F("size") - F("offset"), default=0))["bytes"]
    if shutil.disk_usage(settings.DATA_DIR).free < coming + size + settings.KEEP_FREE_BYTES:
        raise NoSpace


def append(upload: Upload, offset: int, body: Body) -> None:
    """Write what `body` holds at `offset`; what is told afterwards is safe on the disk.

    After the last piece the file has its SHA-256; once its head is there, the reason why it will be refused.
    Raises WrongOffset, InHand, TooLong, NoSpace, another OSError or Upload.DoesNotExist: then all is as before.
    """
    with _held(upload.path) as file:
        try:
            upload.refresh_from_db()
        except Upload.DoesNotExist:
            upload.drop_file()  # which taking hold of it has made
            raise
        if offset != upload.arrived:
            raise WrongOffset
        if upload.is_whole:
            return  # nothing can follow
        end = _write(file, offset, body, upload.size)
        error = _refusal(file, upload.size) if offset < HEAD_BYTES <= end or end == upload.size else None
        digest = _sha256(file) if end == upload.size else ""
        if not upload.advance(end, digest, error):
            upload.refresh_from_db()  # raises DoesNotExist where it was removed meanwhile
            raise WrongOffset


@contextmanager
def _held(path: Path) -> Iterator[IO[bytes]]:
    """The file, for one at a time: the lock ends with the process, so no crash leaves it behind."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+b") as file:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InHand from error
        yield file


def _write(file: IO[bytes], offset: int, body: Body, size: int) -> int:
    """Write the body and flush it to the disk; answers where it ends. Where that fails, what was there stays."""
    file.truncate(offset)  # a piece whose writer was killed before it could tell
    file.seek(offset)
    try:
        while piece := body.read(PIECE):
            if file.tell() + len(piece) > size:
                raise TooLong
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    except BaseException as error:
        os.ftruncate(file.fileno(), offset)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise NoSpace from error
        raise
    return file.tell()


def _refusal(file: IO[bytes], size: int) -> OcrError | None:
    file.seek(0)
    try:
        kind_of_head(file.read(min(size, HEAD_BYTES)))
    except OcrError as error:
        return error
    return None


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def drafts_of(owner: User) -> QuerySet[Upload, Any]:
    """The user's batches to be, the latest first: `submission`, number of `files`, `bytes`, last `touched`."""
    drafts = Upload.objects.filter(owner=owner).order_by().values("submission")
    return drafts.annotate(files=Count("pk"), bytes=Sum("size"), touched=Max("updated")).order_by("-touched")
