"""What the product's processes use: memory and processor time, as the kernel counts them."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def processes() -> Iterator[Path]:
    """The product's own, as folders of /proc."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone by now
            if f"DATA_DIR={os.environ['DATA_DIR']}".encode() in (entry / "environ").read_bytes():
                yield entry


def memory() -> dict[str, float]:
    """MB held by each kind of process of the product; of several of a kind, the largest."""
    found: dict[str, float] = {}
    for entry in processes():
        with suppress(OSError, IndexError):
            command = (entry / "cmdline").read_text()
            held = int((entry / "status").read_text().split("VmRSS:")[1].split()[0]) / 1024
            for mark, name in {"daphne": "web", "\0worker\0": "worker"}.items():
                if mark in command:
                    found[name] = max(found.get(name, 0.0), held)
    return found


def cpu_seconds() -> float:
    """Processor time of all of them, with the children that have ended: other people's load is not in it."""
    total = 0.0
    for entry in processes():
        with suppress(OSError):
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


class Watch:
    """The memory of the product's processes, looked at twice a second."""

    def __init__(self) -> None:
        self.samples: list[dict[str, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.5):
            self.samples.append(memory())

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._over.set()
        self._thread.join()

    def span(self, name: str) -> tuple[float, float]:
        """The most it held in the first tenth of the time, and in the last."""
        held = [sample[name] for sample in self.samples if name in sample]
        tenth = max(1, len(held) // 10)
        return max(held[:tenth]), max(held[-tenth:])
