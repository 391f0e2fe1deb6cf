"""What a user can command: create a batch, pause and resume it, cancel it, retry what failed, delete it.

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
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from batches import ocr
from batches.errors import NO_SPACE, NoSpace, Unfinished
from batches.events import change, publish
from batches.files import store
from batches.models import Batch, Page, PageQuerySet, SourceFile, Trial, Upload
from batches.names import shown
from batches.ocr import Options
from batches.tasks.outcomes import end_if_done
from batches.tasks.tokens import wake_on_commit

STORE_TOGETHER = 8  # files: each waits for the disk alone, and disks take eight such waits for one


class Incoming(Protocol):
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


def create_batch(
    owner: User,
    name: str,
    uploads: Sequence[Incoming | Upload],
    options: Options,
    submission: UUID | None = None,
    *,
    preset: str = "",
    held: bool = False,
) -> Batch:
    """Keep the files, in the order given, and queue the batch. `preset`: the name that the options go by.

    `held`: it is paused once its files have been looked at, so that presets can be tried on its pages.
    What came with the same `submission` before is answered again instead: a form sent twice is one batch.
    Files that were uploaded before are moved, not copied: all of that draft, or Unfinished is raised. One that
    has not arrived whole has to be known to be wrong: it is refused at once.
    Raises LanguageMissing or EngineMissing before anything is kept, NoSpace or another OSError where the
    disk refuses; then nothing is left behind. Trouble with the broker is no error: the sweep comes by.
    """
    if batch := submitted(owner, submission):
        return batch
    ocr.probe(settings.OCR_ENGINE).check_languages(options.languages)
    batch = Batch(
        owner=owner,
        name=shown(name, 200),
        options=options.as_json(),
        preset=preset,
        held=held,
        submission=submission,
    )
    draft = [upload for upload in uploads if isinstance(upload, Upload)]
    try:
        with ThreadPoolExecutor(STORE_TOGETHER) as pool:
            files = list(pool.map(partial(_keep, batch), uploads, range(1, len(uploads) + 1)))
        batch = _queue(batch, files, draft)
    except Exception as error:
        batch.remove_if_deleted()  # not if it was made after all, and only the answer got lost
        if first := submitted(owner, submission):
            return first
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise NoSpace from error
        raise
    for upload in draft:
        upload.drop_file()
    return batch


def submitted(owner: User, submission: UUID | None) -> Batch | None:
    """The batch that this form has made, if it has been sent before."""
    return Batch.objects.filter(owner=owner, submission=submission).first() if submission else None


@transaction.atomic
def _queue(batch: Batch, files: list[SourceFile], draft: list[Upload]) -> Batch:
    if draft:
        Upload.objects.lock_drafts(batch.owner)
    batch.save(force_insert=True)
    if draft and Upload.objects.of_draft(batch.owner, draft[0].submission).delete()[0] != len(draft):
        raise Unfinished("Files were added or removed meanwhile. Look at the list, and start again.")
    SourceFile.objects.bulk_create(files, batch_size=1000)
    refused = [file for file in files if file.status == SourceFile.Status.REJECTED]
    batch = Batch.objects.locked(batch.pk)
    rejections = [change(batch, "file.rejected", file) for file in refused]
    publish(batch, change(batch, "batch.queued"), *rejections)
    wake_on_commit()
    return batch


def _keep(batch: Batch, upload: Incoming | Upload, position: int) -> SourceFile:
    source = SourceFile(batch=batch, position=position, name=shown(upload.name or "", 255))
    if not isinstance(upload, Upload):
        source.sha256, source.size = store(upload.chunks(), source.path)
    elif upload.is_whole:
        source.sha256, source.size = upload.sha256, upload.size
        upload.put(source.path)
    elif upload.error_code:
        source.size, source.status = upload.size, SourceFile.Status.REJECTED
        source.error_code, source.error_message = upload.error_code, upload.error_message
    else:
        raise Unfinished
    return source


@transaction.atomic
def cancel_batch(batch: Batch) -> bool:
    """Read no more of it; pages in hand are stopped, those done are kept. False: it had ended already."""
    locked = Batch.objects.locked_if_there(batch.pk)
    if locked is None or not locked.cancel():
        return False
    _remove_trials(locked)
    if dropped := locked.pages.cancel_queued():
        locked.count("cancelled", dropped)
    cancelling = [change(locked, "batch.cancelling")] if locked.status == Batch.Status.CANCELLING else []
    ended = [change(locked, "batch.cancelled")] if locked.has_ended else end_if_done(locked)
    publish(locked, *cancelling, *ended)
    return True


@transaction.atomic
def pause_batch(batch: Batch) -> bool:
    """Let the pages in hand end, and start none. False: it is not running."""
    locked = Batch.objects.locked_if_there(batch.pk)
    if locked is None or not locked.pause():
        return False
    publish(locked, change(locked, "batch.paused"))
    return True


@transaction.atomic
def resume_batch(batch: Batch) -> bool:
    """Go on where it stood. False: it is not paused."""
    locked = Batch.objects.locked_if_there(batch.pk)
    if locked is None or not locked.resume():
        return False
    publish(locked, change(locked, "batch.resumed"))
    wake_on_commit()
    return True


@transaction.atomic
def try_presets(batch: Batch, numbers: Iterable[int], presets: Sequence[tuple[str, Options]]) -> int:
    """Let the pages with these numbers be read on trial, by each preset's name and options.

    What was tried before is removed. Answers how many readings there will be; 0: nothing is left to be read.
    """
    locked = Batch.objects.locked_if_there(batch.pk)
    if locked is None or locked.status not in Batch.OPEN:
        return 0
    _remove_trials(locked)
    trials = Trial.objects.bulk_create(
        Trial(batch=locked, page=page, side=side, preset=name, options=options.as_json())
        for page in locked.pages.filter(number__in=numbers)
        for side, (name, options) in enumerate(presets, 1)
    )
    wake_on_commit()
    return len(trials)


@transaction.atomic
def use_preset(batch: Batch, preset: str, options: Options) -> bool:
    """Read with these options what has not been read, and go on if it was paused. False: nothing is left.

    Pages that were read, or are being read, keep theirs. What was tried goes too, unless all of it has ended.
    """
    locked = Batch.objects.locked_if_there(batch.pk)
    if locked is None or not locked.read_as(preset, options):
        return False
    if locked.trials.open().exists():
        _remove_trials(locked)
    if locked.resume():
        publish(locked, change(locked, "batch.resumed"))
        wake_on_commit()
    return True


def _remove_trials(batch: Batch) -> None:
    images = [trial.image_path for trial in batch.trials.filter(side=1)]
    batch.trials.all().delete()
    for image in images:
        transaction.on_commit(partial(image.unlink, missing_ok=True))


UNREAD = (Page.Status.FAILED, Page.Status.CANCELLED)


@transaction.atomic
def retry_batch(
    batch: Batch,
    which: Q | None = None,
    *,
    statuses: Iterable[Page.Status] = UNREAD,
    options: Options | None = None,
) -> int:
    """Read again the pages that were not read, in the same way or with `options`. Answers how many.

    `which`: only those pages that match. Without it files count too, as one each, once the batch has ended:
    those that nobody has looked at, because preparation failed or was cancelled, and those that were refused
    for a reason that may have passed. `statuses` narrows both: without `cancelled`, nothing that was cancelled
    is read. 0: there is nothing to do, or somebody else was first.
    Raises LanguageMissing or EngineMissing.
    """
    if options:
        ocr.probe(settings.OCR_ENGINE).check_languages(options.languages)
    locked = Batch.objects.locked_if_there(batch.pk)
    return _retry(locked, which, statuses, options) if locked else 0


def _retry(batch: Batch, which: Q | None, statuses: Iterable[Page.Status], options: Options | None) -> int:
    if not batch.has_ended and batch.status not in Batch.READING:
        return 0
    if batch.has_ended and batch.trials.open().exists():
        _remove_trials(batch)  # nobody waits for them any more
    again = _requeue(batch, batch.pages.filter(which or Q()), statuses, options)
    wanted = Page.Status.CANCELLED in statuses or batch.status != Batch.Status.CANCELLED
    files = _readmit(batch) if which is None and wanted and batch.has_ended else 0
    if not again + files:
        return 0
    if files:
        batch.queue_again()
    elif batch.has_ended:
        batch.run()
    else:
        batch.measure_anew()
    publish(batch, change(batch, "batch.retried"))
    wake_on_commit()
    return again + files


def _requeue(
    batch: Batch, pages: PageQuerySet, statuses: Iterable[Page.Status], options: Options | None
) -> int:
    again = 0
    for status in statuses:
        requeued = pages.requeue(status, options)
        batch.count(status, -requeued)
        again += requeued
    return again


def _readmit(batch: Batch) -> int:
    batch.files.readmit()
    return batch.files.filter(status=SourceFile.Status.QUEUED).count()


def delete_batch(batch: Batch) -> None:
    """Cancel the batch if it is being read, then remove its rows, events and files.

    A worker that has a page in hand finds it gone, and stops.
    """
    with transaction.atomic():
        cancel_batch(batch)  # which locks it first, as everybody does: a worker waits its turn
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
