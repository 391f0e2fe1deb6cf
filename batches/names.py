"""Names that users give, made fit to be shown, and to go into a header. Knows no Django."""

import re
import unicodedata
from urllib.parse import quote

MAX_BYTES = 600  # of UTF-8: 200 characters of three bytes each
TAIL = 20  # characters kept at the end of a name that is too long, for what kind of file it is
HIDDEN = {"Cc", "Cf", "Zl", "Zp"}  # control, format (directions, zero width), line and paragraph separators


def shown(name: str, characters: int) -> str:
    """The name as it may be stored and shown, at most so many characters and MAX_BYTES bytes long.

    What would not be seen, or would turn the order of what is seen, is written out: a newline as ␊, a
    right-to-left override as ⟨U+202E⟩. What is no character (a byte that was no UTF-8) becomes �.
    """
    if len(name) > 2 * characters:  # no more than can be kept is looked at
        name = name[:characters] + name[-characters:]
    whole = "".join(map(_visible, name)).strip() or "unnamed"
    keep = min(characters, len(whole))
    while len((short := _shortened(whole, keep)).encode()) > MAX_BYTES:
        keep -= 1
    return short


def attachment(name: str) -> str:
    """The Content-Disposition of a download with this name (RFC 6266), whatever is in it.

    Browsers take `filename*`, which has all its letters; `filename` is for those that cannot.
    """
    name = re.sub(r"[/\\]", "_", shown(name, 200))
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).lstrip(".-") or "download"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _visible(character: str) -> str:
    code, kind = ord(character), unicodedata.category(character)
    if kind == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    if kind not in HIDDEN:
        return character
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's control pictures stand in the same order
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else f"⟨U+{code:04X}⟩"


def _shortened(name: str, characters: int) -> str:
    if len(name) <= characters:
        return name
    return f"{name[: characters - TAIL - 1]}…{name[-TAIL:]}"
