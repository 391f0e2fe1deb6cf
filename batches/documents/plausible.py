"""Whether a text can be one that people wrote, or is what a broken font made of it."""

import re
import unicodedata
from collections import Counter

FEW_LETTERS = 10  # fewer are not worth trusting: reading costs nothing
UNMAPPED = 0.05  # of the characters
NO_CHARACTERS = 0.03  # of the characters: control, private use, unassigned, the replacement character
LETTERS = 0.5  # of the characters that are no white space, letters and digits at the least
MAIN_SCRIPT = 0.7  # of the letters, of one script
MANY_LETTERS = 60  # from here on, statistics of letters say something
# The letters that languages of Latin script have most: 55 to 72 % of them in English, German, French, Latin,
# Polish, Finnish, Hungarian, Turkish; 25 % where a font's map is off by 29, as it often is.
COMMON, OF_COMMON = frozenset("eainrstol"), 0.4
LONG_WORDS = 30  # letters a word, on the average, in a script that puts spaces between words
LEADERS = re.compile(
    r"([-.·_–—…*=~])(\s*\1){2,}"
)  # dots that lead to a page's number, rules drawn with dashes
# Scripts that are written together, or have no letters of their own in `unicodedata`'s names.
TOGETHER = {
    "HIRAGANA": "CJK",
    "KATAKANA": "CJK",
    "KATAKANA-HIRAGANA": "CJK",
    "HANGUL": "CJK",
    "BOPOMOFO": "CJK",
}
UNSPACED = {"CJK", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"}


def what_is_wrong(text: str, unmapped: int) -> str:
    """The reason why the text is none, in a few words; empty where it is plausible.

    `unmapped` of its characters have glyphs that the PDF gives no meaning.
    """
    solid = [char for char in LEADERS.sub("", text) if not char.isspace()]
    letters = [char for char in solid if char.isalpha()]
    if unmapped > UNMAPPED * len(solid):
        return "its characters have no meaning"
    if sum(map(_is_no_character, solid)) > NO_CHARACTERS * len(solid):
        return "it is full of characters that do not exist"
    if len(letters) < FEW_LETTERS:
        return "there is hardly any"
    if sum(char.isalnum() for char in solid) < LETTERS * len(solid):
        return "it has hardly any letters"
    return _wrong_letters(text, letters)


def _is_no_character(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Co", "Cn", "Cs") or char == "\N{REPLACEMENT CHARACTER}"


def _wrong_letters(text: str, letters: list[str]) -> str:
    script, n = Counter(map(_script, letters)).most_common(1)[0]
    if n < MAIN_SCRIPT * len(letters) and len(letters) >= MANY_LETTERS:
        return "its letters are of many scripts"
    if script not in UNSPACED and len(letters) > LONG_WORDS * len(text.split()):
        return "there are no spaces between its words"
    if script == "LATIN" and len(letters) >= MANY_LETTERS:
        plain = unicodedata.normalize("NFD", "".join(letters)).lower()
        if sum(char in COMMON for char in plain) < OF_COMMON * len(letters):
            return "its letters make no words"
    return ""


def _script(letter: str) -> str:
    script = unicodedata.name(letter, "NONE").split()[0]
    return TOGETHER.get(script, script)
