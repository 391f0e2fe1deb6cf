"""Batches, their files, pages and events, files on their way, earlier results: what is kept, each change of state written once.

Every transition is a compare-and-set that names the state it leaves; whoever comes second changes nothing
and is told so by the answer False (or 0). Counters and `last_seq` change under the batch row's lock
(`Batch.objects.locked`), in the transaction of the page's own row.
"""

from batches.models.batch import MAX_LOSSES, Batch
from batches.models.event import BatchEvent
from batches.models.page import Page, PageQuerySet
from batches.models.preset import Preset
from batches.models.recognition import Recognition
from batches.models.source import SourceFile
from batches.models.trial import Trial
from batches.models.upload import KEPT, Upload

__all__ = [
    "KEPT",
    "MAX_LOSSES",
    "Batch",
    "BatchEvent",
    "Page",
    "PageQuerySet",
    "Preset",
    "Recognition",
    "SourceFile",
    "Trial",
    "Upload",
]
