"""What went wrong in a batch, grouped by reason, for those who mend it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet

from batches.errors import OcrError, by_code
from batches.models import Batch, Page, SourceFile

SHOWN = 200  # of each reason; the count tells of the others


@dataclass(frozen=True)
class Problem:
    """One reason, with the pages that failed or the files that were refused for it."""

    code: str
    title: str
    retryable: bool
    count: int
    pages: Sequence[Page] = ()
    files: Sequence[SourceFile] = ()

    @property
    def message(self) -> str:
        """The sentence for the user, where it is the same for all that are shown: then it is told once."""
        messages = {page.error_message for page in self.pages} | {file.error_message for file in self.files}
        return messages.pop() if len(messages) == 1 else ""

    @property
    def more(self) -> int:
        """How many there are beyond those shown."""
        return self.count - len(self.pages) - len(self.files)


def problems_of(batch: Batch) -> list[Problem]:
    """The reasons, refused files first, then pages; among each the most frequent first."""
    rejected = batch.files.filter(status=SourceFile.Status.REJECTED)
    failed = batch.pages.filter(status=Page.Status.FAILED).select_related("source")
    files = [
        _problem(code, count, files=rejected.filter(error_code=code)[:SHOWN])
        for code, count in _frequencies(rejected)
    ]
    pages = [
        _problem(code, count, pages=failed.filter(error_code=code)[:SHOWN])
        for code, count in _frequencies(failed)
    ]
    return files + pages


def _frequencies(rows: QuerySet[Any]) -> list[tuple[str, int]]:
    counted = rows.order_by().values_list("error_code").annotate(n=Count("pk"))
    return list(counted.order_by("-n", "error_code"))


def _problem(code: str, count: int, **rows: Any) -> Problem:
    error = by_code().get(code, OcrError)
    return Problem(code, error.title, error.retryable, count, **rows)
