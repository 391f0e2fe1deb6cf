"""Recognised before, not again: results kept by what they depend on, for their owner alone."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from batches.documents import PREPARATION_VERSION, Known, PageImage, Stance, Word
from batches.files import replacing
from batches.models import Recognition
from batches.ocr import Engine, Options, PageResult, text_of

logger = logging.getLogger(__name__)

WORTH_KEEPING = 60.0  # mean confidence: a poor reading may have been one for want of time
SAID = "Recognised before: the text was taken from then."
OF_THE_PAGE = (
    "text",
    "seconds",
    "timings",
    "recognised_before",
)  # of a result: not kept, as it follows or differs
OF_NO_MATTER = ("pdf_text",)  # of the options: whether a page is read, not how


class Before:
    """What the owner of a page had recognised before, asked for this page. Trouble with it is no error."""

    def __init__(self, owner_id: int, options: Options, engine: Engine) -> None:
        self.owner_id, self.options, self.engine = owner_id, options, engine
        self.found: PageResult | None = None

    @property
    def knows(self) -> Known | None:
        """For `documents.load_page`: finds the result for the page of that digest. None: nothing is kept."""
        return self._find if settings.RECOGNISED_BYTES else None

    def key(self, digest: str) -> str:
        """Everything that decides what comes of a page, as one SHA-256 in hex."""
        how = {name: value for name, value in self.options.as_json().items() if name not in OF_NO_MATTER}
        models = self.engine.model_digests(self.options.languages)
        parts = [self.owner_id, digest, how, self.engine.name, models, PREPARATION_VERSION]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _find(self, digest: str) -> Stance | None:
        try:
            self.found = _load(self.key(digest))
        except (DatabaseError, InterfaceError, OSError) as error:
            _tell("looked for", error)
        return Stance(self.found.rotation, self.found.skew) if self.found else None

    def result(self, image: PageImage, seconds: float) -> PageResult:
        """What was found, for the page as it came this time."""
        assert self.found is not None
        kept = vars(self.found) | {
            "seconds": seconds,
            "recognised_before": True,
            "timings": dict(image.seconds),
        }
        kept["note"] = " ".join(filter(None, [image.note, self.found.note, SAID]))
        return PageResult(**kept)

    def keep(self, image: PageImage, result: PageResult) -> None:
        """For the next time, where the page was really read."""
        if not image.digest or (result.confidence is not None and result.confidence < WORTH_KEEPING):
            return
        try:
            key = self.key(image.digest)
            Recognition.objects.keep(self.owner_id, key, _save(key, image, result))
        except (DatabaseError, InterfaceError, OSError) as error:
            _tell("kept", error)


def _save(key: str, image: PageImage, result: PageResult) -> int:
    """Write the file; its bytes. A checksum stands before what is kept: disks forget too."""
    kept = {name: value for name, value in vars(result).items() if name not in OF_THE_PAGE}
    kept["note"] = result.note.removeprefix(image.note).strip()  # of the recognition, not of the file
    content = json.dumps(kept, ensure_ascii=False).encode()
    with replacing(Recognition.path_of(key)) as temporary:
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        return temporary.stat().st_size


def _load(key: str) -> PageResult | None:
    """The result of that key. One whose file is damaged or gone is none, and is removed."""
    row = Recognition.objects.find(key)
    if row is None:
        return None
    try:
        result = _parse(row.path.read_bytes())
    except (FileNotFoundError, TypeError, ValueError, KeyError) as error:
        logger.warning("What was recognised before as %s is damaged, and is removed: %r", key, error)
        Recognition.objects.filter(pk=row.pk).delete()
        row.path.unlink(missing_ok=True)
        return None
    row.was_used()
    return result


def _parse(content: bytes) -> PageResult:
    checksum, _, content = content.partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        raise ValueError("not what was written")
    kept: dict[str, Any] = json.loads(content)
    words = tuple(Word(*row) for row in kept.pop("words"))
    return PageResult(text=text_of(words), words=words, seconds=0.0, **kept)


def _tell(what: str, error: Exception) -> None:
    logger.warning("What was recognised before could not be %s: %s", what, error)
    if not isinstance(error, OSError):
        connection.close()


# ------------------------------------------------------------------ the bound, and leftovers


def bound() -> Iterator[str]:
    """Keep no more than RECOGNISED_BYTES: what was of use longest ago goes first."""
    over = Recognition.objects.size() - settings.RECOGNISED_BYTES
    if over > 0 and (gone := sum(1 for _ in Recognition.objects.forget(over))):
        yield f"More than RECOGNISED_BYTES of earlier results: {gone} removed"


def heal(part: int, is_old: Callable[[Any], bool]) -> Iterator[str]:
    """Rows without a file and old files without a row, in one of the 256 folders: as there are many, in turn."""
    folder = Recognition.folder() / f"{part % 256:02x}"
    files = {path.stem: path for path in folder.glob("*.json")}
    first, last = folder.name, f"{folder.name}g"  # no hex digit is greater
    rows = set(Recognition.objects.filter(key__gt=first, key__lt=last).values_list("key", flat=True))
    lost = rows - files.keys()
    Recognition.objects.filter(key__in=list(lost)).delete()
    ownerless = [path for key, path in files.items() if key not in rows and is_old(path)]
    ownerless += [path for path in folder.glob(".*") if is_old(path)]
    for path in ownerless:
        path.unlink(missing_ok=True)
    if lost or ownerless:
        yield f"Earlier results of which only a half was there: {len(lost) + len(ownerless)} removed"
