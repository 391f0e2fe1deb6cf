"""How many pages may be read at the same time: as many as there are cores, unless memory allows fewer.

What a page takes is measured by `BENCH_ONLY=memory make bench`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

# Bytes at the peak, with the worker process and its helper (150 MB): a page of up to 35 megapixels (A4 at 600 dpi)
# in colour takes about 10 bytes a pixel beside them; the largest page as much as OPEN_MEMORY lets it.
PAGE_BYTES = 550 * 10**6
BIG_PAGE_BYTES = 1750 * 10**6
SHARE = 0.75  # of the memory that is there; the rest is for the database, the web server and the disk cache


def slots(cores: int, available: int) -> int:
    """How many pages may be read at once where `available` bytes are there; one of them may be a big one.

    At least one, and no more than `cores`.
    """
    beside_a_big_one = (SHARE * available - BIG_PAGE_BYTES) / PAGE_BYTES
    return max(1, min(cores, 1 + int(beside_a_big_one)))


def available(root: Path = Path("/")) -> int:
    """Bytes of memory that are free or can be made so, or that our control group may have, if that is less."""
    free = re.search(r"^MemAvailable:\s+(\d+) kB", (root / "proc/meminfo").read_text(), re.MULTILINE)
    limits = [int(limit) for limit in _limits(root) if limit.isdecimal()]  # or «max»
    return min([*limits, 1024 * int(free[1])] if free else limits, default=0)


def _limits(root: Path) -> Iterator[str]:
    """What the control groups that we are in allow, from ours up to the outermost (cgroups(7), versions 1 and 2)."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if not controllers:
            yield from _limits_of(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_of(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")


def _limits_of(mount: Path, path: str, name: str) -> Iterator[str]:
    inner = Path(path.lstrip("/"))
    for group in (inner, *inner.parents):
        limit = mount / group / name
        if limit.exists():  # in a container the path may be the host's: then only the outermost is there
            yield limit.read_text().strip()
