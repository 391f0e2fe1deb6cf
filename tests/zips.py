"""Makes ZIP archives as people and attackers do."""

import stat
import zipfile
from pathlib import Path


def write_zip(path: Path, members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """An archive with these files, in this order."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def add_link(path: Path, name: str, target: str) -> None:
    """A symbolic link, as `zip --symlinks` packs it."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, target)


def set_flag(path: Path, name: str, flag: int) -> None:
    """A general purpose flag of the member, in the archive's directory and in front of the member."""
    with zipfile.ZipFile(path) as archive:
        local = archive.getinfo(name).header_offset
        directory = archive.start_dir
    content = bytearray(path.read_bytes())
    entry = content.index(name.encode(), directory) - 46
    for at in (local + 6, entry + 8):
        content[at] |= flag
    path.write_bytes(content)


def write_overlapping(path: Path, size: int, copies: int) -> Path:
    """Few bytes that many entries share: each unpacks to `size` bytes."""
    write_zip(path, {"0": bytes(size)})
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    end = content.index(b"PK\x05\x06")
    entry, tail = content[start:end], bytearray(content[end:])
    tail[8:10] = tail[10:12] = copies.to_bytes(2, "little")
    tail[12:16] = (len(entry) * copies).to_bytes(4, "little")
    path.write_bytes(content[:start] + entry * copies + bytes(tail))
    return path
