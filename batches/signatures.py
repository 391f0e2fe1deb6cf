"""What a file is by its first bytes, told while it is being handed over. Knows no Django and decodes nothing.

It only says no where the answer is sure: what passes here may still be refused once it is looked at.
"""

from batches.errors import UnsupportedType

HEAD_BYTES = 1024  # so much of a file is looked at

# The kinds of file that are taken, each with what stands in its first bytes: at which place, and what.
SIGNATURES = (
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("TIFF", 0, b"II*\x00"),
    ("TIFF", 0, b"MM\x00*"),
    ("TIFF", 0, b"II+\x00"),  # BigTIFF
    ("TIFF", 0, b"MM\x00+"),
)
PDF_HEADER = b"%PDF-"  # anywhere in the head (ISO 32000-1, annex H.3.4.1)


def check_head(head: bytes) -> None:
    """Raise UnsupportedType where no file that is read begins so; `head`: HEAD_BYTES, or the whole file."""
    known = any(head.startswith(signature, place) for _, place, signature in SIGNATURES)
    if not known and PDF_HEADER not in head[:HEAD_BYTES]:
        raise UnsupportedType
