"""Where the time of a page goes, stage by stage. Knows no Django."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# In their order, and what people call them.
STAGES = {
    "open": "Opening the file",
    "prepare": "Preparing the image",
    "recognise": "Recognising",
    "parse": "Taking over the words",
    "write": "Writing files",
    "event": "Saving and telling",
}


class Stages:
    """Seconds by stage; a stage that comes again adds up."""

    def __init__(self, seconds: Mapping[str, float] | None = None) -> None:
        self.seconds = dict(seconds or {})

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """The block's time belongs to the stage, whatever comes of it."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)

    def add(self, stage: str, seconds: float) -> None:
        """So many seconds more, to the tenth of a millisecond."""
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + seconds, 4)
