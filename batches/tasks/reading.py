"""Reading a page that this worker has claimed."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from batches import documents, ocr
from batches.documents import RENDITION, Kind, Known, PageImage
from batches.errors import OcrError
from batches.files import replacing
from batches.models import Page, Trial
from batches.ocr import Engine, Options, PageResult, PdfText
from batches.stages import Stages
from batches.tasks.leases import kept
from batches.tasks.limits import limits
from batches.tasks.outcomes import as_told, settle
from batches.tasks.recognised import Before

logger = logging.getLogger(__name__)

SAVE_PAUSES = (0.5, 1, 2, 4, 8, 16)  # seconds between tries to save, where the database is away


def read(page: Page) -> None:
    """Read the page and tell what came of it, unless another attempt holds it by then."""
    outcome: PageResult | OcrError | None
    with private_folder(f"page-{page.pk}-{page.attempt}-") as folder:
        in_hand = InHand(page, folder)
        with kept(in_hand.renew, in_hand.stop):
            outcome = _read(page, folder)
    if in_hand.unwanted and isinstance(outcome, OcrError):
        outcome = None
    if _save_and_tell(page, outcome):
        _remove_leftovers(page)
    else:
        page.words_path(page.attempt).unlink(missing_ok=True)
        page.batch.remove_if_deleted()
        logger.info("The result of attempt %s at page %s came too late", page.attempt, page.pk)


@contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """Named after the attempt, so that the sweep knows when nobody needs it any more."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=settings.TMP_DIR) as folder:
        yield Path(folder)


class InHand:
    """What is being read: `unwanted` once it is no longer this attempt's, or was cancelled."""

    def __init__(self, work: Page | Trial, folder: Path) -> None:
        self.work, self.folder = work, folder
        self.unwanted = False

    def renew(self) -> bool:
        """Keep it, if it is still wanted."""
        return self.work.renew()

    def stop(self) -> None:
        """End what reads it."""
        self.unwanted = True
        ocr.stop(self.folder)


def _read(page: Page, folder: Path) -> PageResult | OcrError:
    stages = Stages()
    try:
        result = _recognise(page, folder, stages)
        with stages.measure("write"):
            _write_words(page, result)
    except Exception as error:
        return as_told(error, f"Reading page {page.number} of batch {page.batch_id}")
    return replace(result, timings={**result.timings, **stages.seconds})


def _recognise(page: Page, folder: Path, stages: Stages) -> PageResult:
    result = recognise(page, page.reading_options(), folder)
    with stages.measure("write"):
        keep_image(folder, page.image_path)
    return result


def recognise(page: Page, options: Options, folder: Path, *, anew: bool = False) -> PageResult:
    """Open the page in the private folder and read it with these options, unless that has been done before.

    Its image is in the folder then. `anew`: read it in any case, and keep nothing of it.
    """
    started = time.monotonic()
    before = Before(page.batch.owner_id, options, engine())

    def look(more: int = 0, known: Known | None = None) -> PageImage:
        return documents.load_page(
            page.source.path,
            Kind(page.source.kind),
            page.index,
            folder,
            limits(),
            keep_text=options.pdf_text is PdfText.KEEP,
            look=options.look(more),
            known=known,
        )

    image = look(known=None if anew else before.knows)
    if image.known:
        return before.result(image, round(time.monotonic() - started, 2))
    result = ocr.recognise(
        image, options, engine=before.engine, timeout=settings.PAGE_TIMEOUT, look_again=look
    )
    before.keep(image, result)
    return result


def keep_image(folder: Path, path: Path) -> None:
    """The page as people see it, taken from the private folder to where it is kept."""
    with replacing(path) as temporary:
        shutil.copyfile(folder / RENDITION, temporary)


def _write_words(page: Page, result: PageResult) -> None:
    with replacing(page.words_path(page.attempt)) as temporary:
        temporary.write_text(json.dumps({"engine": result.engine, "words": result.words}), "utf-8")


def _remove_leftovers(page: Page) -> None:
    """What attempts before this one have left, those that were killed while they wrote included."""
    if page.attempt == 1:
        return  # most pages, and a folder may hold a hundred thousand files
    for path in page.image_path.parent.glob(f".{page.number:06d}*"):
        path.unlink(missing_ok=True)
    for attempt in range(1, page.attempt):
        page.words_path(attempt).unlink(missing_ok=True)


def _save_and_tell(page: Page, outcome: PageResult | OcrError | None) -> bool:
    stages = Stages()
    with stages.measure("event"):
        settled = saved(partial(settle, page, outcome))
    if settled and isinstance(outcome, PageResult):
        try:
            page.told(stages.seconds["event"])
        except (DatabaseError, InterfaceError):  # it was read and told, whatever is known of that
            connection.close()
    return settled


def saved(save: Callable[[], bool]) -> bool:
    """Save what was read: it is not thrown away because the database is away for some seconds."""
    for pause in SAVE_PAUSES:
        try:
            return save()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("What was read could not be saved, trying again: %s", error)
            connection.close()
            time.sleep(pause)
    return save()


@cache
def engine() -> Engine:
    """What reads here. Asked once a process, and those are short-lived."""
    return ocr.probe(settings.OCR_ENGINE)
