"""Two presets on the same pages of a batch, side by side: for somebody who has to choose one."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from statistics import fmean

from django.conf import settings

from batches.models import Batch, Page, Trial
from batches.ocr.presets import in_words

ABOUT_AS_SURE = 1.0  # points of confidence: less says nothing on a few pages
FAR_FEWER = 0.7  # of the other's words: sure of little is not better
CLEARLY_FASTER = 0.8  # of the other's seconds
MAX_COMPARED = 1500  # words of a page; comparing more takes longer than looking

Part = tuple[str, bool]  # a piece of text, and whether the other side has it otherwise


@dataclass(frozen=True)
class Reading:
    """What one side made of one page."""

    trial: Trial
    parts: Sequence[Part]


@dataclass(frozen=True)
class Side:
    """One preset, and what came of it: over the pages that both have read, so that it can be compared.

    `failed`: pages that it could not read.
    """

    failed: int
    trial: Trial  # one of its trials: stands for all, which have the same options
    words: int
    confidence: float | None
    seconds: float | None
    whole_batch: float | None  # seconds for the pages that are left, in all slots together: an estimate

    @property
    def preset(self) -> str:
        """Its name."""
        return self.trial.preset

    @property
    def told(self) -> str:
        """What it does."""
        return in_words(self.trial.options)

    @property
    def duration(self) -> str:
        """How long the whole batch would take, in words."""
        return duration(self.whole_batch) if self.whole_batch is not None else ""


@dataclass(frozen=True)
class Comparison:
    """The sides, and page by page their readings; `open`: how many are still to come.

    `verdict` says in words which side to take, once all is read; `recommended` is that side, if there is one.
    """

    sides: Sequence[Side]
    rows: Sequence[tuple[Page, Sequence[Reading]]]
    open: int
    verdict: str = ""
    recommended: Side | None = None


def comparison_of(batch: Batch) -> Comparison | None:
    """What was tried last on pages of the batch; None if nothing was."""
    trials = list(batch.trials.select_related("page__source"))
    if not trials:
        return None
    still = 0 if batch.has_ended else sum(not trial.has_ended for trial in trials)
    left = batch.total - batch.current
    read = Counter(trial.page_id for trial in trials if trial.status == Trial.Status.SUCCEEDED)
    both = {page for page, times in read.items() if times == 2}
    sides = [_side([trial for trial in trials if trial.side == side], both, left) for side in (1, 2)]
    pairs = groupby(trials, key=lambda trial: trial.page)
    rows = [(page, _readings(list(pair), mark=not still)) for page, pair in pairs]
    return Comparison(sides, rows, still, *(("", None) if still else verdict(*sides)))


def _side(trials: Sequence[Trial], both: Collection[int], left: int) -> Side:
    read = [trial for trial in trials if trial.status == Trial.Status.SUCCEEDED]
    read = [trial for trial in read if trial.page_id in both] or read
    confidences = [trial.confidence for trial in read if trial.confidence is not None]
    times = [trial.seconds for trial in read if trial.seconds is not None]
    seconds = fmean(times) if times else None
    slots = max(1, min(settings.WORKER_SLOTS, left))
    return Side(
        failed=sum(trial.status == Trial.Status.FAILED for trial in trials),
        trial=trials[0],
        words=sum(trial.words for trial in read),
        confidence=fmean(confidences) if confidences else None,
        seconds=seconds,
        whole_batch=seconds * left / slots if seconds is not None else None,
    )


def verdict(one: Side, two: Side) -> tuple[str, Side | None]:
    """Which side to take, in words, and that side; none where these pages do not tell."""
    if one.failed != two.failed:
        return _more_reliable(*((one, two) if one.failed < two.failed else (two, one)))
    if one.confidence is None or two.confidence is None:
        found = [side for side in (one, two) if side.confidence is not None]
        return _only(found[0]) if found else ("Neither has found any text on these pages.", None)
    if abs(one.confidence - two.confidence) < ABOUT_AS_SURE:
        return _equals(one, two)
    surer, other = (one, two) if one.confidence > two.confidence else (two, one)
    figures = f"{surer.confidence:.0f} % against {other.confidence:.0f} %"
    if surer.words < FAR_FEWER * other.words:
        told = f"“{surer.preset}” is surer ({figures}), but has found far fewer words: {surer.words} against "
        return f"{told}{other.words}. Look at the text before you choose.", None
    return f"“{surer.preset}” is recommended: it is surer of what it read, {figures}.", surer


def _more_reliable(side: Side, other: Side) -> tuple[str, Side]:
    more = other.failed - side.failed
    pages = "a page" if more == 1 else f"{more} pages"
    return f"“{side.preset}” is recommended: the other could not read {pages} that it could.", side


def _only(side: Side) -> tuple[str, Side]:
    return f"“{side.preset}” is recommended: the other has found no text.", side


def _equals(one: Side, two: Side) -> tuple[str, Side | None]:
    equal = "Both are about as sure of what they read"
    faster, other = (one, two) if (one.seconds or 0) < (two.seconds or 0) else (two, one)
    if (faster.seconds or 0) < CLEARLY_FASTER * (other.seconds or 0):
        return f"{equal}, and “{faster.preset}” is faster.", faster
    return f"{equal}: choose by the text.", None


def _readings(pair: Sequence[Trial], mark: bool) -> list[Reading]:
    if mark and len(pair) == 2 and all(trial.status == Trial.Status.SUCCEEDED for trial in pair):
        parts = differences(pair[0].text, pair[1].text)
    else:
        parts = [[(trial.text, False)] for trial in pair]
    return [Reading(trial, part) for trial, part in zip(pair, parts, strict=True)]


def differences(one: str, two: str) -> list[list[Part]]:
    """Both texts in pieces, each with whether the other has it otherwise. Long texts are one piece."""
    left, right = re.findall(r"\S+", one), re.findall(r"\S+", two)
    if max(len(left), len(right)) > MAX_COMPARED:
        return [[(one, False)], [(two, False)]]
    same = SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
    return [
        _parts(one, {block.a + i for block in same for i in range(block.size)}),
        _parts(two, {block.b + i for block in same for i in range(block.size)}),
    ]


def _parts(text: str, same: Iterable[int]) -> list[Part]:
    """The text in pieces: runs of words that are the `same`, by their number, and of others."""
    known, number = set(same), -1
    flagged: list[Part] = []
    for token in re.findall(r"\S+|\s+", text):
        number += not token.isspace()
        flagged.append((token, not token.isspace() and number not in known))
    runs = groupby(flagged, key=lambda part: part[1])
    return [("".join(token for token, _ in run), differs) for differs, run in runs]


def duration(seconds: float) -> str:
    """A duration as people say it: "less than a minute", "about 3 minutes", "about 2 hours"."""
    if seconds < 60:
        return "less than a minute"
    size, unit = (60, "minute") if seconds < 5400 else (3600, "hour")
    number = round(seconds / size)
    return f"about {number} {unit}{'' if number == 1 else 's'}"
