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


# ------------------------------------------------------------------ what a worker slot takes


class Peak:
    """The most that one worker slot held while this was open, in MB: its process and all that it has started.

    Pages that processes share count once, divided among them (the kernel's proportional set size).
    """

    def __init__(self, server: int) -> None:
        """`server`: the process id of the product's `manage.py serve`."""
        self.megabytes = 0.0
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.megabytes = max(self.megabytes, *slots(self._server), 0.0)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._over.set()
        self._thread.join()


def slots(server: int) -> list[float]:
    """MB that each worker slot of the product holds now: a process that the worker has forked, and all below it."""
    children = _children()
    ours = list(_below(server, children))
    workers = {pid for pid in ours if _is_worker(pid)}
    forked = [child for pid in workers for child in children.get(pid, []) if child in workers]
    return [sum(map(_held, [slot, *_below(slot, children)])) for slot in forked]


def _children() -> dict[int, list[int]]:
    """All processes of the machine, by the one that started them."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone by now
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            found.setdefault(parent, []).append(int(entry.name))
    return found


def _below(pid: int, children: dict[int, list[int]]) -> Iterator[int]:
    for child in children.get(pid, []):
        yield child
        yield from _below(child, children)


def _is_worker(pid: int) -> bool:
    with suppress(OSError):
        return "\0worker\0" in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def _held(pid: int) -> float:
    """MB, of what it shares only its part; nothing of a process that is gone."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("\nPss:")[1].split()[0]) / 1024
    return 0.0
