"""Files that are there whole or not at all. Knows no Django."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; on leaving it is flushed to the disk and takes its place.

    Where the block raises, nothing is left behind and what stood at `path` still stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def digest(path: Path) -> tuple[str, int]:
    """The SHA-256 of the file's content in hex, and its number of bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def store(chunks: Iterable[bytes], path: Path) -> tuple[str, int]:
    """Write the chunks to `path`. Answers the SHA-256 in hex, and the number of bytes."""
    digest, size = hashlib.sha256(), 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


async def chunks_of(path: Path, size: int = 1 << 18) -> AsyncIterator[bytes]:
    """The file in pieces of `size` bytes, each read in a thread."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, size):
            yield chunk
