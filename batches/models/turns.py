"""In which order pages are begun, so that a batch ends without a lone straggler. Knows no database.

In the order of their numbers, except that a heavy page is pulled forward: it has to begin while what is left
behind it keeps the other slots busy for as long as it takes itself. Pages too big to be read side by side
(`BIG`) have to begin while there is that much work for all of them, one after the other.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

BIG = 35.0  # megapixels (A4 at 600 dpi is just below): memory is short for several of these at a time
MUCH = 1.5  # times the mean weight: lighter pages stay where they are


@dataclass(frozen=True)
class Load:
    """What the pages of a batch weigh (in megapixels): on the average, the heaviest, and the big ones together."""

    mean: float
    heaviest: float
    big: float

    @property
    def even(self) -> bool:
        """Whether no page is much heavier than the others."""
        return self.heaviest <= MUCH * self.mean


@dataclass
class _Order:
    """Pages placed from the last one to the first. `behind`: the work placed so far; `big`: of it, big pages."""

    load: Load
    slots: int
    behind: float = 0.0
    big: float = 0.0
    waiting: list[tuple[float, int]] = field(default_factory=list)  # heap of heavy pages still to be placed

    def may_begin(self, weight: float) -> bool:
        """Whether enough is left behind a page of this weight, if it is begun just before that."""
        alone = weight + (self.big if weight >= BIG else 0.0)
        return self.behind >= self.slots * alone

    def place(self, weight: float) -> None:
        self.behind += weight
        self.big += weight if weight >= BIG else 0.0

    @property
    def over(self) -> bool:
        """Whether no page from here on can have to be moved."""
        return not self.waiting and self.behind >= self.slots * (self.load.heaviest + self.load.big)


def turns(pages: Iterable[tuple[int, float]], load: Load, slots: int) -> Iterator[tuple[int, int]]:
    """Of pages (number, weight), the last one first: the number and turn of each that has to be moved.

    A page's turn is its number, or the number of the page that it goes before; of equal turns the heavier goes
    first. A weight of 0 is not known, and counts as the mean.
    """
    order, first = _Order(load, slots), 0
    for number, known in pages:
        weight = known or load.mean
        if weight > MUCH * load.mean and not order.may_begin(weight):
            heapq.heappush(order.waiting, (weight, number))
            continue
        order.place(weight)
        first = number
        yield from _due(order, first)
        if order.over:
            return
    yield from ((number, first) for _, number in order.waiting if first)


def _due(order: _Order, before: int) -> Iterator[tuple[int, int]]:
    """The waiting pages behind which enough is left now: they go before page `before`."""
    while order.waiting and order.may_begin(order.waiting[0][0]):
        weight, number = heapq.heappop(order.waiting)
        order.place(weight)
        yield number, before
