"""What a user can command: create a batch, cancel it, retry what failed, delete it.

Each command crosses rows, transaction and queue, and tells by its answer whether it had any effect.
"""

import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from batches import ocr
from batches.errors import NO_SPACE, NoSpace
from batches.events import change, publish
from batches.files import store
from batches.models import Batch, Page, SourceFile
from batches.ocr import Options
from batches.tasks.outcomes import end_if_done
from batches.tasks.tokens import wake_on_commit

STORE_TOGETHER = 8  # files: each waits for the disk alone, and disks take eight such waits for one


class Upload(Protocol):
    """A file that is handed over: a name to show, and its bytes. Django's UploadedFile is one."""

    @property
    def name(self) -> str | None: ...

    def chunks(self) -> Iterable[bytes]: ...


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine, handed over by the command line."""

    path: Path
    name: str | None

    def chunks(self) -> Iterable[bytes]:
        with self.path.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk


def create_batch(owner: User, name: str, uploads: Sequence[Upload], options: Options) -> Batch:
    """Keep the files, in the order given, and queue the batch.

    Raises LanguageMissing or EngineMissing before anything is kept, NoSpace or another OSError where the
    disk refuses; then nothing is left behind. Trouble with the broker is no error: the sweep comes by.
    """
    ocr.probe().check_languages(options.languages)
    batch = Batch(owner=owner, name=name, options=options.as_json())
    try:
        with ThreadPoolExecutor(STORE_TOGETHER) as pool:
            files = list(pool.map(partial(_keep, batch), uploads, range(1, len(uploads) + 1)))
        with transaction.atomic():
            batch.save(force_insert=True)
            SourceFile.objects.bulk_create(files, batch_size=1000)
            publish(batch, change(batch, "batch.queued"))
            wake_on_commit()
    except Exception as error:
        shutil.rmtree(batch.folder, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise NoSpace from error
        raise
    return batch


def _keep(batch: Batch, upload: Upload, position: int) -> SourceFile:
    source = SourceFile(batch=batch, position=position, name=(upload.name or "unnamed")[-255:])
    source.sha256, source.size = store(upload.chunks(), source.path)
    return source


@transaction.atomic
def cancel_batch(batch: Batch) -> bool:
    """Read no more of it; pages in hand end, those done are kept. False: it had ended already."""
    batch = Batch.objects.locked(batch.pk)
    if not batch.cancel():
        return False
    if dropped := batch.pages.cancel_queued():
        batch.count("cancelled", dropped)
    cancelling = [change(batch, "batch.cancelling")] if batch.status == Batch.Status.CANCELLING else []
    ended = [change(batch, "batch.cancelled")] if batch.has_ended else end_if_done(batch)
    publish(batch, *cancelling, *ended)
    return True


@transaction.atomic
def retry_batch(batch: Batch, *, only_failed: bool = False) -> int:
    """Read again what failed, and unless `only_failed` what was cancelled. Answers how much that is.

    Files count as one each: those that nobody has looked at, because preparation failed or was cancelled,
    and those that were refused for a reason that may have passed. 0: there is nothing to do.
    """
    batch = Batch.objects.locked(batch.pk)
    if not batch.has_ended or (only_failed and batch.status == Batch.Status.CANCELLED and not batch.failed):
        return 0
    again = 0
    for status in [Page.Status.FAILED] if only_failed else [Page.Status.FAILED, Page.Status.CANCELLED]:
        pages = batch.pages.requeue(status)
        batch.count(status, -pages)
        again += pages
    batch.files.readmit()
    files = batch.files.filter(status=SourceFile.Status.QUEUED).count()
    if (files and batch.queue_again()) or (again and batch.run()):
        publish(batch, change(batch, "batch.retried"))
        wake_on_commit()
    return again + files


def delete_batch(batch: Batch) -> None:
    """Cancel the batch if it is being read, then remove its rows, events and files.

    A worker that has a page in hand finds it gone, and stops.
    """
    cancel_batch(batch)
    Batch.objects.filter(pk=batch.pk).delete()
    with suppress(FileNotFoundError):
        # Out of the way in one step: nothing can be added to it, and what is left the sweep removes.
        grave = batch.folder.rename(settings.TMP_DIR / f"deleted-{batch.pk}")
        shutil.rmtree(grave, ignore_errors=True)


def command_line_user() -> User:
    """The owner of batches from the command line: a user who cannot sign in. Staff see their batches."""
    user, created = User.objects.get_or_create(username="command-line")
    if created:
        user.set_unusable_password()
        user.save()
    return user
