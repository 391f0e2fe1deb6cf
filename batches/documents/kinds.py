"""What a file is, told by its first bytes; and the names of many things that are not read."""

from enum import StrEnum
from pathlib import Path

from batches.errors import CorruptFile, UnsupportedType

HEAD_BYTES = 4096
PDF_HEADER_WITHIN = 1024  # readers look for it in the first 1,024 bytes (ISO 32000-1, annex H.3.4.1)
BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)


class Kind(StrEnum):
    """The types of file that are read; those of images by Pillow's names for them."""

    PNG = "PNG"
    JPEG = "JPEG"
    TIFF = "TIFF"
    BMP = "BMP"
    GIF = "GIF"
    WEBP = "WEBP"
    JPEG2000 = "JPEG2000"
    PNM = "PPM"
    HEIF = "HEIF"
    AVIF = "AVIF"
    PDF = "PDF"
    ZIP = "ZIP"


MAGIC: dict[bytes, Kind] = {
    b"\x89PNG\r\n\x1a\n": Kind.PNG,
    b"\xff\xd8\xff": Kind.JPEG,
    b"II*\0": Kind.TIFF,
    b"MM\0*": Kind.TIFF,
    b"II+\0": Kind.TIFF,
    b"MM\0+": Kind.TIFF,
    b"GIF87a": Kind.GIF,
    b"GIF89a": Kind.GIF,
    b"\0\0\0\x0cjP  \r\n\x87\n": Kind.JPEG2000,
    b"\xffO\xffQ": Kind.JPEG2000,
    b"PK\x03\x04": Kind.ZIP,
    b"PK\x05\x06": Kind.ZIP,
    b"PK\x07\x08PK\x03\x04": Kind.ZIP,
}
# ISO/IEC 14496-12: a file's brands stand at its beginning.
BRANDS = dict.fromkeys((b"avif", b"avis"), Kind.AVIF) | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), Kind.HEIF
)

AS_PDF = "Save it as PDF and upload that."
UNPACK = "Unpack it, and upload the files or a ZIP file of them."
AS_IMAGE = "Export it as PNG, TIFF or PDF and upload that."
LEAVE_OUT = "Leave it out."

FOREIGN: dict[bytes, tuple[str, str]] = {
    b"{\\rtf": ("an RTF text", AS_PDF),
    b"%!PS": ("a PostScript file", AS_PDF),
    b"\xc5\xd0\xd3\xc6": ("a PostScript file", AS_PDF),
    b"AT&TFORM": ("a DjVu file", AS_PDF),
    b"8BPS": ("a Photoshop file", AS_IMAGE),
    b"gimp xcf": ("a GIMP file", AS_IMAGE),
    b"\0\0\0\x0cJXL \r\n\x87\n": ("a JPEG XL image", AS_IMAGE),
    b"\xff\x0a": ("a JPEG XL image", AS_IMAGE),
    b"\0\0\1\0": ("an icon", AS_IMAGE),
    b"Rar!": ("a RAR archive", UNPACK),
    b"7z\xbc\xaf'\x1c": ("a 7-Zip archive", UNPACK),
    b"\x1f\x8b": ("a gzip archive", UNPACK),
    b"BZh": ("a bzip2 archive", UNPACK),
    b"\xfd7zXZ\0": ("an xz archive", UNPACK),
    b"(\xb5/\xfd": ("a Zstandard archive", UNPACK),
    b"ID3": ("a sound recording", LEAVE_OUT),
    b"OggS": ("a sound or video recording", LEAVE_OUT),
    b"fLaC": ("a sound recording", LEAVE_OUT),
    b"\x1aE\xdf\xa3": ("a video", LEAVE_OUT),
    b"\x7fELF": ("a program", LEAVE_OUT),
    b"MZ": ("a program", LEAVE_OUT),
    b"SQLite format 3\0": ("a database", LEAVE_OUT),
}
# The streams of a compound file that tell which program wrote it ([MS-CFB]: names are UTF-16).
COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
COMPOUND_STREAMS = {
    "WordDocument": "a Microsoft Word file",
    "Workbook": "a Microsoft Excel file",
    "Book": "a Microsoft Excel file",
    "PowerPoint Document": "a Microsoft PowerPoint file",
    "__properties_version1.0": "an Outlook message",
    "EncryptedPackage": "a Microsoft Office file with a password",
}
COMPOUND_READ = 4 * 1024**2


def kind_of(path: Path) -> Kind:
    """The file's kind. Raises CorruptFile for an empty file, UnsupportedType, by name where it can be told."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(COMPOUND_FILE):
        raise unsupported(_compound(path), AS_PDF)
    return kind_of_head(head)


def kind_of_head(head: bytes) -> Kind:
    """The same by the file's first HEAD_BYTES alone, for one that is still arriving. Decodes nothing."""
    if not head:
        raise CorruptFile("The file is empty (0 bytes). Scan or export it again and upload the new copy.")
    if kind := _known(head):
        return kind
    raise _foreign(head)


def unsupported(what: str, advice: str) -> UnsupportedType:
    """The refusal of `what` ("a Microsoft Word file")."""
    return UnsupportedType(f"This is {what}, which is not read. {advice}")


def _known(head: bytes) -> Kind | None:
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.WEBP
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADER_SIZES:
        return Kind.BMP
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return Kind.PNM
    if head[4:8] == b"ftyp":
        return _of_brand(head)
    return Kind.PDF if b"%PDF-" in head[:PDF_HEADER_WITHIN] else None


def _of_brand(head: bytes) -> Kind | None:
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    kinds = {BRANDS[brand] for brand in brands if brand in BRANDS}
    return Kind.AVIF if Kind.AVIF in kinds else Kind.HEIF if kinds else None  # mif1 may stand for both


def _foreign(head: bytes) -> UnsupportedType:
    if head.startswith(COMPOUND_FILE):
        return unsupported("a Microsoft Office file", AS_PDF)
    for magic, (what, advice) in FOREIGN.items():
        if head.startswith(magic):
            return unsupported(what, advice)
    if head[4:8] == b"ftyp":
        return unsupported("a video", LEAVE_OUT)
    if head[:4] == b"RIFF":
        return unsupported("a sound or video recording", LEAVE_OUT)
    if head[257:262] == b"ustar":
        return unsupported("a tar archive", UNPACK)
    if head[128:132] == b"DICM":
        return unsupported("a DICOM image", AS_IMAGE)
    return _foreign_text(head)


def _compound(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(COMPOUND_READ)
    found = (what for name, what in COMPOUND_STREAMS.items() if (name + "\0").encode("utf-16-le") in content)
    return next(found, "a Microsoft Office file")


def _foreign_text(head: bytes) -> UnsupportedType:
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "ignore")
    start = text.lstrip("\ufeff \t\r\n").lower()
    if "<svg" in start and start.startswith("<"):
        return unsupported("an SVG drawing", AS_IMAGE)
    if start.startswith(("<!doctype html", "<html")) or (start.startswith("<") and "<html" in start):
        return unsupported("a web page (HTML)", AS_PDF)
    if start.startswith("<?xml"):
        return unsupported("an XML file", LEAVE_OUT)
    if start.startswith(("received:", "return-path:", "mime-version:")):
        return unsupported("an e-mail", AS_PDF)
    if _is_text(head):
        return unsupported("a text file", "Its text needs no recognition: leave it out.")
    return UnsupportedType()


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "ignore")
    readable = sum(char.isprintable() or char.isspace() for char in text)
    return readable >= 0.95 * len(text) and len(text.encode()) >= 0.95 * len(head)
