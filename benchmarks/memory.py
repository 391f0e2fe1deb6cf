"""`python -m benchmarks.memory`: what a page takes of memory at its peak; figures last, `NAME VALUE` a line.

Measured in a process of its own that opens and reads one page as a worker does. A page is opened in one process
and recognised in another after that one has ended, so the larger of the two counts.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.pages import draw_page

PROJECT = Path(__file__).parent.parent
TILES = (4, 3)  # A4 pages at 300 dpi side by side and one above the other: 104 megapixels
WRITTEN = 2  # of the tiles; more take only time


@dataclass(frozen=True)
class Peaks:
    """MB: the worker process and its helper as they stand, the process that opens, the largest process of all."""

    worker: float
    helper: float
    opening: float
    largest: float

    @property
    def slot(self) -> float:
        """What a slot takes of memory in the worst moment of this page. Memory that is shared counts for each."""
        return self.worker + self.helper + self.largest


def figures() -> Iterator[str]:
    """The lines, as they are measured."""
    from ocrsite import memory

    with tempfile.TemporaryDirectory(prefix="ocr-memory-") as folder:
        for name in ("gray", "colour", "large"):
            _in_a_process("draw", name, folder)
        gray, colour, large = (peaks(Path(folder) / f"{name}.jpg") for name in ("gray", "colour", "large"))
    for name, page in {"gray": gray, "colour": colour, "large": large}.items():
        yield f"memory of a {name} page: {page}"
    yield f"peak_memory_mb_per_slot {max(gray.slot, colour.slot):.0f}"
    yield f"peak_memory_mb_100_megapixels {large.slot:.0f}"
    yield f"slots_of_8_gb {memory.slots(cores=1000, available=8 * 10**9)}"


def peaks(path: Path) -> Peaks:
    """What opening and recognising the page takes."""
    return Peaks(**json.loads(_in_a_process("read", str(path), str(path.parent))))


def _in_a_process(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.memory", *arguments]
    return subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True).stdout


def _draw(name: str, folder: str) -> None:
    image = draw_page(1)
    if name == "large":
        across, down = TILES
        paper = Image.new("L", (across * image.width, down * image.height), 248)
        for tile in range(WRITTEN):
            paper.paste(image, (tile * image.width, 0))
        image = paper
    if name != "gray":
        image = image.convert("RGB")
    image.save(Path(folder) / f"{name}.jpg", dpi=(300, 300), quality=90)


def _read(path: str, folder: str) -> None:
    os.environ |= {"DJANGO_SETTINGS_MODULE": "ocrsite.settings", "DATA_DIR": folder, "SECRET_KEY": "bench"}
    import django

    django.setup()

    from batches import documents, ocr, tasks  # noqa: F401 # what a worker has loaded
    from batches.documents import cage
    from batches.tasks.limits import limits

    with tempfile.TemporaryDirectory(dir=folder) as private:
        page = documents.load_page(
            Path(path), documents.Kind.JPEG, 0, Path(private), limits(), known=lambda digest: None
        )
        helper = cage._mine.helper
        assert helper
        held = _resident(helper.process.pid)
        cage.stop_helper()
        opening = _peak_of_children()
        ocr.recognise(page, ocr.Options(), engine="", timeout=600)
    found = Peaks(_resident(os.getpid()), held, opening, _peak_of_children())
    print(json.dumps(vars(found)))


def _resident(pid: int) -> float:
    """MB that the process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def _peak_of_children() -> float:
    """MB of the largest process so far that we, or a child of ours, have started and seen end."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def main() -> None:
    match sys.argv[1:]:
        case ["draw", name, folder]:
            _draw(name, folder)
        case ["read", path, folder]:
            _read(path, folder)
        case _:
            print("\n".join(figures()))


if __name__ == "__main__":
    main()
