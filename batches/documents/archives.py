"""ZIP archives: what is in them, checked before anything is unpacked. Runs in the cage only."""

import lzma
import re
import stat
import time
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from natsort import natsorted, ns

from batches.documents.kinds import AS_PDF, LEAVE_OUT, UNPACK, unsupported
from batches.documents.pages import Archive, Limits, Member
from batches.errors import CorruptFile, Encrypted, TooLarge, UnsupportedType
from batches.files import replacing

CHUNK = 1 << 20
UNPACK_SECONDS = 1.0  # after which those that wait for their turn are left for the next time
SMALL = 32 * 1024**2  # bytes; what is smaller is no bomb, however well it was packed
NAME_CHARACTERS = 1000  # that are looked at; no file system takes more in a path's last parts
LOCAL_HEADER = 30  # bytes, before name and extra field (APPNOTE.TXT 4.3.7)
ENCRYPTED, UTF8 = 0x1, 0x800  # general purpose flags (4.4.4)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
LEFTOVERS = re.compile(
    r"(^|/)(__MACOSX/|\.[^./]|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE
)  # of file managers
OFFICE = {
    "word/": "a Microsoft Word file",
    "xl/": "a Microsoft Excel file",
    "ppt/": "a Microsoft PowerPoint file",
}


def list_members(path: Path, limits: Limits, *, nested: bool = False) -> Archive:
    """The files in the archive, in natural order.

    Raises UnsupportedType for an Office file and the like, and where the archive is `nested` in another;
    TooLarge for too many or too large files; CorruptFile where entries overlap (few bytes unpack to many).
    """
    with _opened(path) as archive:
        _refuse_documents(archive)
        if nested:
            raise unsupported("an archive inside an archive", UNPACK)
        if (n := len(archive.infolist())) > limits.zip_entries:
            raise TooLarge(
                f"The ZIP archive holds {n} files; {limits.zip_entries} are unpacked at the most. Split it."
            )
        if not (entries := _entries(archive)):
            raise CorruptFile("There are no files in this ZIP archive. Pack it again and upload it.")
        _check_overlap(archive)
        _check_size(entries, path.stat().st_size, limits)
        return Archive(tuple(Member(_name(entry), entry.file_size) for entry in entries))


def unpack_members(path: Path, targets: Mapping[int, Path], limits: Limits) -> None:
    """Write the members (numbered from 1 as `list_members` has them) to their targets, for a second at least.

    Raises what is wrong with the first; at a later one with something wrong it ends: its turn will come.
    """
    started = time.monotonic()
    with _opened(path) as archive:
        entries = _entries(archive)
        for position, (member, target) in enumerate(targets.items()):
            if position and time.monotonic() - started > UNPACK_SECONDS:
                break
            try:
                _unpack(archive, entries[member - 1], target, limits)
            except Exception:  # whatever a decompressor raises, MemoryError too
                if not position:
                    raise
                break


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise CorruptFile(
            "The ZIP archive is damaged or incomplete. Pack it again and upload the new copy."
        ) from error


def _entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    files = [
        entry for entry in archive.infolist() if not entry.is_dir() and not LEFTOVERS.search(_name(entry))
    ]
    return natsorted(files, key=_name, alg=ns.IGNORECASE | ns.PATH)


def _name(entry: zipfile.ZipInfo) -> str:
    """The path in the archive. Programs that write UTF-8 without saying so are understood."""
    name = entry.filename[-NAME_CHARACTERS:]
    if not entry.flag_bits & UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name).replace(
        "\\", "/"
    )


# ------------------------------------------------------------------ the archive as a whole


def _refuse_documents(archive: zipfile.ZipFile) -> None:
    """Office files and others are ZIP archives too."""
    names = archive.namelist()
    if "[Content_Types].xml" in names:
        kinds = (what for folder, what in OFFICE.items() if any(name.startswith(folder) for name in names))
        raise unsupported(next(kinds, "a Microsoft Office file"), AS_PDF)
    if names and names[0] == "mimetype" and archive.getinfo("mimetype").file_size < 200:
        kind = archive.read("mimetype")
        if b"opendocument" in kind:
            raise unsupported("an OpenDocument file (LibreOffice)", AS_PDF)
        if b"epub" in kind:
            raise unsupported("an e-book (EPUB)", LEAVE_OUT)
    if "META-INF/MANIFEST.MF" in names or "AndroidManifest.xml" in names:
        raise unsupported("a program", LEAVE_OUT)


def _check_size(entries: list[zipfile.ZipInfo], packed: int, limits: Limits) -> None:
    # What is refused for itself is not unpacked.
    unpacked = sum(entry.file_size for entry in entries if not _is_too_dense(entry, limits))
    if unpacked > limits.zip_bytes or (unpacked > SMALL and unpacked > packed * limits.zip_ratio):
        raise TooLarge(
            f"The ZIP archive would unpack to {unpacked / 1e6:.0f} MB from {packed / 1e6:.1f} MB, more than is "
            "unpacked here. Split it, or upload the files themselves."
        )


def _check_overlap(archive: zipfile.ZipFile) -> None:
    """Each entry ends before the next begins, and the last before the directory."""
    assert archive.fp
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    ends = [entry.header_offset for entry in entries[1:]] + [archive.start_dir]
    for entry, end in zip(entries, ends, strict=True):
        archive.fp.seek(entry.header_offset)
        header = archive.fp.read(LOCAL_HEADER)
        length = (
            LOCAL_HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        )
        if entry.header_offset + length + entry.compress_size > end:
            raise CorruptFile(
                "Files in this ZIP archive lie over one another, as no ordinary program packs them. "
                "Pack it again and upload the new copy."
            )


# ------------------------------------------------------------------ one member


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limits: Limits) -> None:
    _check_member(entry, limits)
    with archive.open(entry) as packed:
        try:
            chunk = packed.read(CHUNK)
            with replacing(target) as temporary, temporary.open("wb") as file:
                while chunk:
                    file.write(chunk)
                    chunk = packed.read(CHUNK)
        except (zipfile.BadZipFile, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise CorruptFile(
                "The file is damaged inside the ZIP archive. Pack it again and upload the new copy."
            ) from error


def _is_too_dense(entry: zipfile.ZipInfo, limits: Limits) -> bool:
    return entry.file_size > max(SMALL, entry.compress_size * limits.zip_ratio)


def _check_member(entry: zipfile.ZipInfo, limits: Limits) -> None:
    name = _name(entry)
    if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
        raise UnsupportedType(
            "The ZIP archive wants to put this file outside of its own folder, as no ordinary program packs it. "
            "Upload the file itself."
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UnsupportedType(
            "This is a link to another file, which is not followed. Upload the file itself."
        )
    if entry.flag_bits & ENCRYPTED:
        raise Encrypted(
            "The file is protected by a password inside the ZIP archive. Pack it without one and upload it again."
        )
    if entry.compress_type not in METHODS:
        raise UnsupportedType(
            "The file is packed by a method that is not read here. Pack it as an ordinary ZIP file (Deflate)."
        )
    if _is_too_dense(entry, limits) or entry.file_size > limits.max_file_bytes:
        raise TooLarge(
            f"The file would unpack to {entry.file_size / 1e6:.0f} MB from {entry.compress_size / 1e6:.1f} MB, "
            "more than is unpacked here. Upload the file itself."
        )
