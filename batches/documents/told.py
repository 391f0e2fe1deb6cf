"""What a process in the cage tells: as little to be trusted as the file that it opened."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from batches.documents.pages import WEIGHED
from batches.errors import CorruptFile


class well_formed:  # noqa: N801 # reads as a phrase
    """Whatever in this block turns out to be no proper answer is told as CorruptFile."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError | FileNotFoundError):
            raise CorruptFile from error


def sizes(told: Iterable[Any]) -> tuple[float, ...]:
    """Megapixels as a process told them. Raises TypeError or ValueError for what is no size of a page."""
    found = tuple(float(size) for size in islice(told, WEIGHED))
    if not all(0 <= size < 1e6 for size in found):
        raise ValueError("no size of a page")
    return found
