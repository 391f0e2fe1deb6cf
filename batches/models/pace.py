"""How fast a batch is being read, and how long the rest will take: measured in the batch itself. No Django."""

from dataclasses import dataclass
from math import sqrt

ENOUGH = 5  # pages that must have ended before anything is said of the time left
WINDOW = 30  # pages that count: what was read long ago says little of what comes
CONFIDENCE = 1.28  # standard deviations either way: four times of five the truth lies within
LEAST_SPREAD = 0.1  # of the time left: pages to come are never quite like those that were


@dataclass(frozen=True)
class Pace:
    """Seconds from the end of one page to the end of the next: their mean and variance over `pages`.

    Over more pages than the window, older ones fade out (an exponentially weighted mean and variance:
    T. Finch, Incremental calculation of weighted mean and variance, 2009, section 9).
    """

    pages: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def after(self, seconds: float) -> "Pace":
        """The pace once another page has ended, so many seconds after the one before."""
        pages = self.pages + 1
        weight = 1 / min(pages, WINDOW)
        difference = max(0.0, seconds) - self.mean
        variance = (1 - weight) * (self.variance + weight * difference**2)
        return Pace(pages, self.mean + weight * difference, variance)

    def seconds_left(self, remaining: int) -> tuple[float, float] | None:
        """How long `remaining` pages will take, from and to. None as long as too little is known."""
        if self.pages < ENOUGH:
            return None
        middle = self.mean * remaining
        measured = min(self.pages, WINDOW)
        # The mean may be off, and the pages to come scatter around it.
        spread = CONFIDENCE * sqrt(self.variance * remaining * (1 + remaining / measured))
        spread = max(spread, LEAST_SPREAD * middle)
        return max(0.0, middle - spread), middle + spread

    @property
    def pages_per_minute(self) -> float | None:
        """None before the second page."""
        return round(60 / self.mean, 1) if self.pages >= 2 and self.mean > 0 else None
