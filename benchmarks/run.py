"""`make bench`: measures the product against public tools in the same run; figures last, `NAME VALUE` a line.

BENCH_ROUNDS is the number of rounds (3). BENCH_ONLY=fast,cards measures only figures with such a word in their name.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from statistics import median, quantiles

from batches.ocr import Options, Preparation
from benchmarks import pages, rivals
from benchmarks.pages import Drawn
from benchmarks.product import Product, product
from benchmarks.usage import Peak

CORES = os.cpu_count() or 1
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ONLY = os.environ.get("BENCH_ONLY", "")
PAGES = 10 * CORES
CARDS = 100
ALONE = 10  # pages for who reads them one after the other: a rate needs no more
AS_IT_IS, PREPARED = Options(preparation=Preparation.OFF), Options()

# What is held against what, both in pages a minute.
RATIOS = {
    "throughput_vs_xargs": ("default", "xargs"),
    "throughput_vs_ocrmypdf": ("default", "ocrmypdf"),
    "throughput_vs_sequential": ("default", "sequential"),
    "fast_vs_limit": ("fast", "limit"),
    "fast_vs_xargs": ("fast", "xargs"),
    "cards_vs_limit": ("fast_cards", "limit_cards"),
    "prepared_vs_plain": ("prepared", "default"),
}
EVENTS, RATE = "event_latency_p95_ms", "pages_per_minute"
MEMORY, FAST_MEMORY = "peak_memory_mb_per_slot", "fast_peak_memory_mb_per_slot"
LARGE_MEMORY = "peak_memory_mb_of_100_megapixels"
FIGURES = [*RATIOS, EVENTS, RATE, MEMORY, FAST_MEMORY, LARGE_MEMORY]


class Bench:
    """The pages, and the product with each engine, made when they are first needed; who is measured on them."""

    def __init__(self, folder: Path, until_the_end: ExitStack) -> None:
        self.folder = folder
        self.latencies: list[float] = []
        self.stages: dict[str, dict[str, float]] = {}
        self._until_the_end = until_the_end

    @cached_property
    def pages(self) -> list[Drawn]:
        return pages.write(self.folder / "pages", pages.page, PAGES)

    @cached_property
    def cards(self) -> list[Drawn]:
        return pages.write(self.folder / "cards", pages.card, CARDS, dpi=200)

    @cached_property
    def large(self) -> list[Drawn]:
        return pages.write(self.folder / "large", pages.large_page, 1, dpi=600)

    @cached_property
    def default(self) -> Product:
        return self._start("default engine")

    @cached_property
    def fast(self) -> Product:
        return self._start("fast engine", OCR_ENGINE="tesserocr")

    def _start(self, name: str, **settings: str) -> Product:
        """Ready, and warm: each slot has read a page."""
        started = self._until_the_end.enter_context(product(name, **settings))
        started.read(self.pages[: 2 * CORES], PREPARED)
        return started

    def contestants(self) -> dict[str, Callable[[], float]]:
        """Each reads the same pages, and answers how many it read a minute; neighbours are compared."""
        return {
            "sequential": lambda: rate(self.pages[:ALONE], rivals.pytesseract_loop(self.pages[:ALONE])),
            "ocrmypdf": lambda: rate(self.pages, rivals.ocrmypdf(self.pages, CORES)),
            "prepared": lambda: self._read("prepared", self.default, self.pages, PREPARED),
            "default": lambda: self._read("default", self.default, self.pages, AS_IT_IS),
            "xargs": lambda: rate(self.pages, rivals.xargs_tesseract(self.pages, CORES)),
            "fast": lambda: self._read("fast", self.fast, self.pages, AS_IT_IS),
            "limit": lambda: rate(self.pages, rivals.tesserocr_alone(self.pages, CORES)),
            "fast_cards": lambda: self._read("fast_cards", self.fast, self.cards, AS_IT_IS),
            "limit_cards": lambda: rate(self.cards, rivals.tesserocr_alone(self.cards, CORES)),
        }

    def _read(self, name: str, product: Product, read: list[Drawn], options: Options) -> float:
        run = product.read(read, options)
        self.stages[name] = run.stages
        self.latencies += run.latencies if name == "default" else []
        return rate(read, run.seconds)

    def memory(self, figure: str) -> float:
        """The most MB a slot held: prepared pages, by either engine; one page of 100 megapixels."""
        reader = self.fast if figure == FAST_MEMORY else self.default
        with Peak(reader.pid) as peak:
            reader.read(self.large if figure == LARGE_MEMORY else self.pages[: 4 * CORES], PREPARED)
        return peak.megabytes


def rate(read: list[Drawn], seconds: float) -> float:
    """Pages a minute."""
    return 60 * len(read) / seconds


def wanted(only: str) -> list[str]:
    """The figures that have one of these words, parted by commas, in their name; all of them for none."""
    words = only.split(",")
    if unknown := [word for word in words if not any(word in figure for figure in FIGURES)]:
        sys.exit(f"BENCH_ONLY: no figure is called {', '.join(unknown)}. There are: {', '.join(FIGURES)}")
    return [figure for figure in FIGURES if any(word in figure for word in words)]


def compete(bench: Bench, figures: list[str]) -> dict[str, list[float]]:
    """Pages a minute by round, of all who are needed. Every second round goes the other way about."""
    needed = {name for figure in figures for name in RATIOS.get(figure, ())}
    needed |= {"default"} if {EVENTS, RATE} & set(figures) else set()
    order = [name for name in bench.contestants() if name in needed]
    rates: dict[str, list[float]] = {name: [] for name in order}
    for number in range(1, ROUNDS + 1 if order else 1):
        print(f"round {number}, pages a minute:", end="", flush=True)
        for name in order if number % 2 else reversed(order):
            rates[name].append(bench.contestants()[name]())
            print(f" {name} {rates[name][-1]:.1f}", end="", flush=True)
        print()
    return rates


def measure(bench: Bench, figures: list[str]) -> Iterator[str]:
    """The figures, `NAME VALUE`; of ratios the median over the rounds."""
    rates = compete(bench, figures)
    for figure in figures:
        if figure in RATIOS:
            over, under = (rates[name] for name in RATIOS[figure])
            yield f"{figure} {median(a / b for a, b in zip(over, under, strict=True)):.3f}"
        elif figure == EVENTS:
            yield f"{figure} {quantiles(bench.latencies, n=20)[-1]:.0f}"
        elif figure == RATE:
            yield f"{figure} {median(rates['default']):.1f}"
        else:
            yield f"{figure} {bench.memory(figure):.0f}"


def stage_table(stages: dict[str, dict[str, float]]) -> Iterator[str]:
    """Where the time of a page went in the last round: milliseconds by stage."""
    for name, seconds in stages.items():
        parts = ", ".join(f"{stage} {1000 * spent:.0f}" for stage, spent in seconds.items())
        yield f"a page's time in ms, {name}: {parts}"


def main() -> None:
    figures = wanted(ONLY)
    with tempfile.TemporaryDirectory(prefix="ocr-pages-") as folder, ExitStack() as until_the_end:
        bench = Bench(Path(folder), until_the_end)
        measured = list(measure(bench, figures))
    print("\n".join([*stage_table(bench.stages), *measured]))


if __name__ == "__main__":
    main()
