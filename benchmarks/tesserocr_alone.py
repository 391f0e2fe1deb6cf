"""`python -m benchmarks.tesserocr_alone CORES TESSDATA IMAGE…`: the most that the fast engine could give.

One process a core, each with one API that is kept, and nothing around it. It gives what the product keeps: words, boxes
and confidences. Answers seconds and texts as JSON; starting and loading are not in the seconds.
"""

import json
import sys
import time
from multiprocessing import Barrier, Pool
from typing import Any

import tesserocr

TEXT_COLUMN = 11  # of Tesseract's TSV; other levels than words have none
api: Any = None


def warm(tessdata: str, image: str, all_warm: Any) -> None:
    """Load what is loaded at the first page too, and wait for the others."""
    global api
    api = tesserocr.PyTessBaseAPI(path=tessdata, lang="eng", psm=tesserocr.PSM.AUTO_OSD)
    read(image)
    all_warm.wait()


def read(image: str) -> str:
    """The page's TSV."""
    api.SetImageFile(image)
    api.Recognize()
    return str(api.GetTSVText(0))


def text_of(tsv: str) -> str:
    """The words, in order."""
    return " ".join(
        row.split("\t")[TEXT_COLUMN] for row in tsv.splitlines() if row.count("\t") >= TEXT_COLUMN
    )


def main(cores: int, tessdata: str, images: list[str]) -> None:
    all_warm = Barrier(cores + 1)
    with Pool(cores, warm, (tessdata, images[0], all_warm)) as pool:
        all_warm.wait()
        started = time.monotonic()
        found = pool.map(read, images, chunksize=1)
        seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "texts": [text_of(tsv) for tsv in found]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
