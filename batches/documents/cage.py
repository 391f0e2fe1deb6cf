"""The cage from outside: what this process asks to have opened, and what it is told.

Each thread has a warm helper (`caged`) that imports the decoders once and forks a process for each request:
its own process group, limits on memory, processor time and file size, a clean environment, a private folder.
A process that breaks them ends alone. The helper ends with the thread, its children with the helper.
"""

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Any

from batches.documents.kinds import Kind
from batches.documents.pages import AS_IT_IS, Archive, Document, Known, Limits, Look, Member, PageImage, Word
from batches.documents.question import MARK, Question
from batches.documents.told import sizes, well_formed
from batches.errors import (
    CorruptFile,
    Encrypted,
    EngineTimeout,
    NoSpace,
    OutOfMemory,
    SourceMissing,
    TooLarge,
    UnsupportedType,
)
from batches.helper import Helper, Own

logger = logging.getLogger(__name__)

# Each process maps its memory anew: huge pages, where the system has them, save a third of a page's time.
ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "OPENBLAS_NUM_THREADS": "1",  # threads do not survive the fork, and take memory
}
WEIGH_AT_MOST = 5.0  # seconds for one file; nothing is lost but how large its pages are
GRACE = 5.0  # seconds for the helper to notice that a process has run out of time
UNPACKED_A_SECOND = 40 * 1024**2  # bytes, on a slow disk
LONGEST_NOTE = 1000  # characters
LARGEST_SCALE = 4.0
MEASURED = ("open", "prepare")  # stages of a page that are over when it comes out of the cage
TOLD = {
    error.__name__: error
    for error in (
        *(CorruptFile, Encrypted, SourceMissing, TooLarge, UnsupportedType),
        *(EngineTimeout, NoSpace, OutOfMemory),
    )
}


def inspect(
    path: Path, limits: Limits, folder: Path | None = None, *, nested: bool = False
) -> Document | Archive:
    """Tell what the file is and count its pages, or list its files, without decoding any.

    `folder` is where temporary folders are made. `nested`: it came in an archive, and must be none itself.
    Raises UnsupportedType, CorruptFile, Encrypted, TooLarge, SourceMissing, EngineTimeout, OutOfMemory or
    NoSpace; OSError where the machine refuses.
    """
    (outcome,) = inspect_all([path], limits, folder, nested=nested)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def inspect_all(
    paths: Sequence[Path],
    limits: Limits,
    folder: Path | None = None,
    *,
    nested: bool = False,
    within: float = 0,
) -> list[Document | Archive | Exception]:
    """The same for the first of these files, as many as are begun `within` so many seconds; at least one.

    In one process, which costs less than one each. A file that ends the process is the last one told of.
    """
    with tempfile.TemporaryDirectory(prefix="look-", dir=folder) as private:
        names = [str(path.absolute()) for path in paths]
        answers = _ask("inspect", Path(private), limits, paths=names, nested=nested, begin_within=within)
    return [_inspected(answer) for answer in answers]


def weigh_all(
    paths: Sequence[Path], limits: Limits, folder: Path | None = None, *, within: float = 0
) -> list[tuple[float, ...]]:
    """How many megapixels the pages of these PDF files have (see `Document`), of those begun `within` seconds.

    Pages are looked into for that, which may end the process, as reading them may: then nothing is told of the
    files from there on. Raises OutOfMemory or CorruptFile if all is lost.
    """
    hasty = replace(limits, seconds=min(limits.seconds, WEIGH_AT_MOST))
    with tempfile.TemporaryDirectory(prefix="look-", dir=folder) as private:
        names = [str(path.absolute()) for path in paths]
        answers = _ask("weigh", Path(private), hasty, paths=names, begin_within=within)
    with well_formed():
        return [() if _error_told(answer) else sizes(answer["megapixels"]) for answer in answers]


def _inspected(answer: dict[str, Any]) -> Document | Archive | Exception:
    if error := _error_told(answer):
        return error
    try:
        with well_formed():
            if "members" in answer:
                return Archive(tuple(Member(str(row["name"]), int(row["size"])) for row in answer["members"]))
            kind, pages, note = Kind(answer["kind"]), int(answer["pages"]), str(answer["note"])
            return Document(kind, pages, note, sizes(answer["megapixels"]))
    except CorruptFile as error:
        return error


def load_page(
    path: Path,
    kind: Kind,
    index: int,
    folder: Path,
    limits: Limits,
    *,
    keep_text: bool = True,
    look: Look = AS_IT_IS,
    known: Known | None = None,
) -> PageImage:
    """Decode or render page `index` (from 0) of the file, and write it to the private `folder`.

    With `keep_text` the text of a PDF page is taken from the PDF where it is good. `known` is asked in between
    whether a page that has to be read is known by its digest (SHA-256 in hex): then nothing is made for the
    engine, and people see it as it stood then.
    Errors as for `inspect`.
    """
    question = Question(known)
    answer = _ask_one(
        "load_page",
        folder,
        limits,
        question,
        path=str(path.absolute()),
        kind=kind.value,
        index=index,
        keep_text=keep_text,
        look=asdict(look),
        asks=known is not None,
    )
    with well_formed():
        page = _page_told(folder, answer)
        if (page.digest, page.known) != (question.digest, question.answer is not None):
            raise ValueError("another page than the one that was asked about")
        _check_files(page)
    return page


def unpack(archive: Path, targets: Mapping[int, Path], limits: Limits, folder: Path | None = None) -> None:
    """Write members of the archive to the paths given, as many as a second allows, and at least the first.

    Raises what `inspect` raises if the first cannot be written; of the others nothing is told.
    """
    largest = min(limits.max_file_bytes, limits.zip_bytes)
    slow = replace(limits, seconds=limits.seconds + largest / UNPACKED_A_SECOND)
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=folder) as private:
        # Written there first: what a process leaves that was ended goes with the folder.
        written = {member: Path(private) / str(member) for member in targets}
        paths = [(member, str(path)) for member, path in written.items()]
        try:
            _ask_one("unpack", Path(private), slow, path=str(archive.absolute()), targets=paths)
        finally:
            for member, path in written.items():
                with suppress(FileNotFoundError):
                    path.replace(targets[member])


def _page_told(folder: Path, answer: dict[str, Any]) -> PageImage:
    """What was told of the page, each part as what it has to be. Raises ValueError, TypeError or KeyError."""
    words, columns, dpi = answer["words"], answer["columns"], answer["dpi"]
    width, height = (int(side) for side in answer.get("gray_size", (0, 0)))
    page = PageImage(
        folder,
        width=int(answer["width"]),
        height=int(answer["height"]),
        dpi=None if dpi is None else int(dpi),
        blank=bool(answer["blank"]),
        note=str(answer["note"])[:LONGEST_NOTE],
        words=None if words is None else tuple(Word(*row) for row in words),
        rotation=int(answer["rotation"]),
        skew=float(answer["skew"]),
        left=int(answer["left"]),
        top=int(answer["top"]),
        scale=float(answer["scale"]),
        gray_size=(width, height),
        columns=None if columns is None else bool(columns),
        doubts=tuple(int(turn) for turn in answer["doubts"]),
        letters=int(answer["letters"]),
        seconds={stage: float(answer["seconds"].get(stage, 0)) for stage in MEASURED},
        digest=str(answer["digest"]),
        known=bool(answer["known"]),
    )
    _check_geometry(page)
    return page


def _check_geometry(page: PageImage) -> None:
    inside = 0 <= page.left < page.width and 0 <= page.top < page.height
    turned = {page.rotation, *page.doubts} <= {0, 90, 180, 270}
    told = [page.scale, page.skew, *page.seconds.values()]
    if not (inside and turned and all(map(isfinite, told)) and 0 < page.scale <= LARGEST_SCALE):
        raise ValueError("no page can lie like that")


def _check_files(page: PageImage) -> None:
    """Tesseract gets an image and nothing else, whatever has become of the process that wrote it."""
    if any(path.is_symlink() for path in (page.gray, page.rendition)):
        raise ValueError("a way to another file")
    if page.words is None and not page.known:
        with page.gray.open("rb") as file:
            width, height = page.gray_size
            whole = os.fstat(file.fileno()).st_size > width * height > 0
            if not whole or file.read(4) != b"II*\0":
                raise ValueError("not the page that was promised")
    page.rendition.stat()


# ------------------------------------------------------------------ the helper


_mine: Own[Helper] = Own()


def _helper() -> Helper:
    return _mine.get(lambda: Helper(["-m", "batches.documents.caged"], ENVIRONMENT))


def _ask(
    what: str, folder: Path, limits: Limits, question: Question | None = None, **arguments: Any
) -> list[dict[str, Any]]:
    request = {"do": what, "folder": str(folder), "limits": asdict(limits)} | arguments
    helper = _helper()
    seconds = arguments.get("begin_within", 0) + limits.seconds + GRACE
    try:
        answers: list[dict[str, Any]] = json.loads(_answer(helper, request, seconds, question))
    except BaseException as error:  # a time limit of ours among them: what the helper does now is unknown
        _mine.end()
        if isinstance(error, EOFError | OSError):
            raise OutOfMemory from error  # nothing else ends a helper that reads no user's bytes
        if isinstance(error, json.JSONDecodeError):
            raise CorruptFile from error
        raise
    return answers


def _answer(helper: Helper, request: dict[str, Any], seconds: float, question: Question | None) -> bytes:
    helper.send(request)
    message = helper.receive(seconds)
    if question and message.startswith(MARK):
        helper.connection.send_bytes(question(message))
        message = helper.receive(seconds)
    return message


def _ask_one(
    what: str, folder: Path, limits: Limits, question: Question | None = None, **arguments: Any
) -> dict[str, Any]:
    """The one answer. Raises what it tells."""
    (answer,) = _ask(what, folder, limits, question, **arguments)
    if error := _error_told(answer):
        raise error
    return answer


def _error_told(answer: dict[str, Any]) -> Exception | None:
    if number := answer.get("errno"):
        return OSError(int(number), os.strerror(int(number)))
    if not (name := answer.get("error")):
        return None
    if answer.get("trace"):
        logger.warning("A file could not be opened: %s", answer["trace"])
    return TOLD.get(str(name), CorruptFile)(str(answer.get("message", "")))


def stop_helper() -> None:
    """End this thread's helper, if it has one. The next request starts another."""
    _mine.end()
