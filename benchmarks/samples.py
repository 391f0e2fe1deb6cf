"""Scans with their true text: a folder of NAME.ext beside NAME.gt.txt.

Two more files may lie there. `manifest.json` is a list of {"file", "lang", "kind"}. `BASELINE.tsv` says what plain
Tesseract gave, with the columns file, tess_lang, CER, WER, seconds and mode (`psm1` is the one that counts).
"""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.error_rates import ErrorRates

TRUTH = ".gt.txt"
CARD = re.compile(r"card", re.IGNORECASE)
# Not modern print: other letters, other hands, other machines, and what was printed before 1800.
NOT_MODERN = re.compile(
    r"card|fraktur|blackletter|typewrit|typescript|typed|handwrit|manuscript|photograph"
    r"|historical|long.s\b|\b1[4-7]\d\ds?\b|\b1[5-8]th.century",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Measured:
    """What reading one file gave, in how many seconds."""

    rates: ErrorRates
    seconds: float


@dataclass(frozen=True)
class Sample:
    """A file, its true text, and what the folder says of it. `kind` is for people, and may be empty."""

    path: Path
    truth: str
    languages: tuple[str, ...]
    kind: str
    baseline: Measured | None

    @property
    def described(self) -> str:
        """Its name, as words, and its kind."""
        return f"{self.path.stem.replace('_', ' ')} {self.kind}"

    @property
    def is_card(self) -> bool:
        """An index card, by its name or kind."""
        return bool(CARD.search(self.described))

    @property
    def is_modern_print(self) -> bool:
        """Printed since about 1800 in roman type: neither its name nor its kind calls it anything else.

        However it was scanned: tilted, turned and coarse pages are among them.
        """
        return not NOT_MODERN.search(self.described)


def samples_in(folder: Path, installed: tuple[str, ...]) -> list[Sample]:
    """The files that have a true text, by name. Languages that are not `installed` are left out; `eng` if none is."""
    kinds, languages = _manifest(folder / "manifest.json")
    baseline = _baseline(folder / "BASELINE.tsv")
    found = []
    for path in sorted(folder.iterdir()):
        truth = path.with_name(path.stem + TRUTH)
        if path.name.endswith(TRUTH) or not truth.exists():
            continue
        spoken, measured = baseline.get(path.name, (languages.get(path.name, ""), None))
        usable = tuple(language for language in spoken.split("+") if language in installed) or ("eng",)
        found += [Sample(path, truth.read_text("utf-8"), usable, kinds.get(path.name, ""), measured)]
    return found


def _manifest(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    rows = json.loads(path.read_text("utf-8")) if path.exists() else []
    return (
        {row["file"]: row.get("kind", "") for row in rows},
        {row["file"]: row.get("lang", "") for row in rows},
    )


def _baseline(path: Path) -> dict[str, tuple[str, Measured]]:
    """By file: the languages it was read with, and what came of it."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as lines:
        return {
            row["file"]: (
                row["tess_lang"],
                Measured(ErrorRates(float(row["CER"]), float(row["WER"])), float(row["seconds"])),
            )
            for row in csv.DictReader(lines, delimiter="\t")
            if row["mode"] == "psm1"
        }
