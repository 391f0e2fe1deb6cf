"""What the process in the cage does: look at a file, open a page, unpack. Answers in plain data."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from batches.documents.archives import list_members, unpack_members
from batches.documents.images import inspect_image, load_image
from batches.documents.kinds import Kind, kind_of
from batches.documents.pages import Document, Known, Limits, Look, Preparation
from batches.documents.pdf import inspect_pdf, load_pdf_page, weigh_pdf
from batches.errors import CorruptFile, SourceMissing, TooLarge


def inspect(request: dict[str, Any], limits: Limits, ask: Known) -> dict[str, Any]:
    """The file's kind and number of pages, or its members."""
    path = Path(request["path"])
    kind = kind_of(path)
    match kind:
        case Kind.ZIP:
            return asdict(list_members(path, limits, nested=bool(request["nested"])))
        case Kind.PDF:
            document = inspect_pdf(path, Path(request["folder"]))
        case _:
            document = inspect_image(path, kind, limits)
    _check_pages(document, limits)
    return asdict(document)


def parts(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The request for several files as one for each, with a folder of its own."""
    if "paths" not in request:
        yield request
        return
    for number, path in enumerate(request["paths"]):
        folder = Path(request["folder"]) / str(number)
        folder.mkdir()
        yield request | {"path": path, "folder": str(folder)}


def weigh(request: dict[str, Any], limits: Limits, ask: Known) -> dict[str, Any]:
    """How large the pages of a PDF are."""
    return {"megapixels": weigh_pdf(Path(request["path"]), Path(request["folder"]), limits)}


def load_page(request: dict[str, Any], limits: Limits, ask: Known) -> dict[str, Any]:
    """A page's images, written to the folder, and what there is to tell of it."""
    path, folder, index = Path(request["path"]), Path(request["folder"]), int(request["index"])
    kind = Kind(request["kind"])
    if not path.exists():
        raise SourceMissing
    look = Look(**request["look"] | {"preparation": Preparation(request["look"]["preparation"])})
    known = ask if request["asks"] else None
    started = time.perf_counter()
    if kind is Kind.PDF:
        keep_text = bool(request["keep_text"]) and not look.rotation  # who turns a page wants it read
        page = load_pdf_page(path, index, folder, limits, keep_text=keep_text, look=look, known=known)
    else:
        page = load_image(path, kind, index, folder, limits, look=look, known=known)
    seconds = time.perf_counter() - started - sum(page.seconds.values())  # without the stages within
    answer = vars(page) | {"words": page.words, "seconds": {**page.seconds, "open": round(seconds, 4)}}
    del answer["folder"]
    return answer


def unpack(request: dict[str, Any], limits: Limits, ask: Known) -> dict[str, Any]:
    """Members of an archive, written to the paths given."""
    targets = {int(member): Path(path) for member, path in request["targets"]}
    unpack_members(Path(request["path"]), targets, limits)
    return {}


def _check_pages(document: Document, limits: Limits) -> None:
    if document.pages < 1:
        raise CorruptFile("The file has no pages. Export it again and upload the new copy.")
    if document.pages > limits.max_pages:
        raise TooLarge(
            f"The file has {document.pages} pages; a batch takes {limits.max_pages} at the most. Split the file."
        )


DO: dict[str, Callable[[dict[str, Any], Limits, Known], dict[str, Any]]] = {
    "inspect": inspect,
    "load_page": load_page,
    "weigh": weigh,
    "unpack": unpack,
}
