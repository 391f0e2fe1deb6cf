"""What a file is, how many pages it has, a page as images and words, an archive's files. Knows no Django.

A file is what its content says, never what its name says. Whatever looks into users' bytes runs in a cage
(`cage`): a process of its own with limits, which crashes or runs away without harm to its worker.
"""

from batches.documents.cage import inspect, inspect_all, load_page, unpack, weigh_all
from batches.documents.kinds import Kind
from batches.documents.pages import (
    PREPARATION_VERSION,
    RENDITION,
    Archive,
    Document,
    Known,
    Limits,
    Look,
    Member,
    PageImage,
    Preparation,
    Stance,
    Word,
)

__all__ = [
    "PREPARATION_VERSION",
    "RENDITION",
    "Archive",
    "Document",
    "Kind",
    "Known",
    "Limits",
    "Look",
    "Member",
    "PageImage",
    "Preparation",
    "Stance",
    "Word",
    "inspect",
    "inspect_all",
    "load_page",
    "unpack",
    "weigh_all",
]
