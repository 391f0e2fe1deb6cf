"""The warm reader, from inside: Tesseract's own interface, kept from page to page.

Started by `warm` as a program: it imports nothing of `batches.ocr`, so that it stays small and starts quickly.
`reader.py` alone prints the version of the Tesseract that tesserocr brings.
"""

import json
import resource
import sys
from collections import OrderedDict
from contextlib import suppress
from math import ceil
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from batches.confined import confine, die_with
from batches.errors import LanguageMissing

try:
    import tesserocr
except ImportError as error:
    sys.stderr.write(str(error))
    sys.exit(127)  # as a shell says that there is no such program

KEPT = 2  # sets of languages, each some 50 MB: two batches that take turns do not load theirs for each page
WRITTEN = 16 * 1024**2  # bytes: it writes nothing but complaints
LARGE = 512 * 1024**2  # bytes in memory after a page: what is beyond it goes back with the process
Key = tuple[Any, ...]


class Reader:
    """Reads one page after the other. `pages`: after so many it ends."""

    def __init__(self, pages: int) -> None:
        self.left = pages
        self.kept: OrderedDict[Key, tesserocr.PyTessBaseAPI] = OrderedDict()

    def answer_to(self, request: dict[str, Any]) -> dict[str, Any]:
        """The TSV of the image, or the name of an error."""
        self.left -= 1
        allow_processor_time(request["seconds"])
        try:
            api = self._with_models(Path(request["tessdata"]), request["languages"])
            return {"tsv": tsv_of(api, request["image"], request["psm"])}
        except LanguageMissing:
            return {"error": "LanguageMissing"}
        except MemoryError:
            return {"error": "OutOfMemory"}
        except Exception as error:  # the reason is among its complaints; whoever asked knows to tell it
            return {"error": "EngineCrashed", "message": str(error)}

    @property
    def is_done(self) -> bool:
        """Whether another process should go on: after many pages, and after a page that left it large."""
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        return self.left <= 0 or resident > LARGE

    def _with_models(self, tessdata: Path, languages: list[str]) -> Any:
        """The interface with these languages' models, as they are now. Raises LanguageMissing."""
        try:
            files = [(tessdata / f"{language}.traineddata").stat() for language in languages]
            key = (str(tessdata), *languages, *((file.st_mtime_ns, file.st_size) for file in files))
            if key not in self.kept:
                while len(self.kept) >= KEPT:
                    self.kept.popitem(last=False)[1].End()
                # Tesseract wants the folder with a slash at its end.
                self.kept[key] = tesserocr.PyTessBaseAPI(path=f"{tessdata}/", lang="+".join(languages))
        except (FileNotFoundError, RuntimeError) as error:  # RuntimeError: it is there, and no model
            raise LanguageMissing from error
        self.kept.move_to_end(key)
        return self.kept[key]


def tsv_of(api: Any, image: str, psm: int) -> str:
    """Read the image as if it were the first: nothing is learnt from one page for the next."""
    api.SetPageSegMode(psm)
    api.SetImageFile(image)
    try:
        if not api.Recognize():
            raise RuntimeError("the page was not recognised")
        return str(api.GetTSVText(0))
    finally:
        api.Clear()
        api.ClearAdaptiveClassifier()


def allow_processor_time(seconds: float) -> None:
    """So many seconds from now on, then SIGXCPU: the limit is of the process, and has many pages to serve."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = ceil(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard < 0 else min(soft, hard), hard))


def serve(pages: int, memory: int, requests: Connection, asker: int) -> None:
    """Answer requests until it is done, or the process `asker` is gone."""
    die_with(asker)
    confine(memory=memory, written=WRITTEN)
    reader = Reader(pages)
    with suppress(EOFError, ConnectionError):
        while not reader.is_done:
            answer = reader.answer_to(json.loads(requests.recv_bytes()))
            requests.send_bytes(json.dumps(answer | {"last": reader.is_done}).encode())


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.stdout.write(tesserocr.tesseract_version().split()[1])
    else:
        pages, memory, socket, asker = map(int, sys.argv[1:])
        serve(pages, memory, Connection(socket), asker)
