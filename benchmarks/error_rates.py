"""Character and word error rates of read text against true text."""

import unicodedata
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

SMALL_E_ABOVE, UMLAUT = "\u0364", "\u0308"
# What a typesetter or a transcriber may write either way, by what it is counted as.
SAME = str.maketrans(
    dict.fromkeys("ſ", "s")
    | dict.fromkeys("ꝛ", "r")
    | dict.fromkeys("⸗¬‐‑–—―−\u00ad", "-")
    | dict.fromkeys("“”„‟«»", '"')
    | dict.fromkeys("‘’‚‛′´`", "'")
    | dict.fromkeys("•·", "*")
    | {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st", "…": "..."}
    | {"\u00a0": " ", "\ufeff": ""}
)


class ErrorRates(NamedTuple):
    """Levenshtein distance over the length of the truth, in characters and in words. Above 1 where much is added."""

    cer: float
    wer: float


def error_rates(truth: str, read: str) -> ErrorRates:
    """Case, punctuation and digits count; kinds of quotes, dashes, ligatures and white space do not."""
    true, found = _normalised(truth), _normalised(read)
    return ErrorRates(_rate(true, found), _rate(true.split(), found.split()))


def _rate(true: str | list[str], found: str | list[str]) -> float:
    return float(Levenshtein.distance(true, found)) / max(1, len(true))


def _normalised(text: str) -> str:
    text = unicodedata.normalize("NFD", text).replace(SMALL_E_ABOVE, UMLAUT)
    return " ".join(unicodedata.normalize("NFC", text).translate(SAME).split())
