"""Plain text: UTF-8, pages in order with a form feed between them."""

from collections.abc import AsyncIterator, Iterator

from django.db.models import QuerySet

from batches.models import Page

PAGE_BREAK = "\f"


def page_texts(pages: QuerySet[Page]) -> Iterator[str]:
    """The text of each page in order, with form feeds between; a page that was not read is empty."""
    for position, text in enumerate(_texts(pages).iterator(chunk_size=200)):
        yield _part(position, text)


async def stream_page_texts(pages: QuerySet[Page]) -> AsyncIterator[str]:
    """The same piece by piece, for a response of any size."""
    position = 0
    async for text in _texts(pages).aiterator(chunk_size=200):
        yield _part(position, text)
        position += 1


def _texts(pages: QuerySet[Page]) -> QuerySet[Page, str]:
    return pages.order_by("number").values_list("text", flat=True)


def _part(position: int, text: str) -> str:
    return f"{PAGE_BREAK if position else ''}{text}\n"
