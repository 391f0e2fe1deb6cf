"""`python -m benchmarks.pytesseract_loop IMAGE…`: what people write first. Answers seconds and texts as JSON.

`image_to_string`, for it is what they call for text, and given a path, which spares it writing the image once more:
the fastest form of such a loop.
"""

import json
import sys
import time

import pytesseract


def main(paths: list[str]) -> None:
    started = time.monotonic()
    texts = [pytesseract.image_to_string(path, lang="eng", config="--psm 1") for path in paths]
    print(json.dumps({"seconds": time.monotonic() - started, "texts": texts}))


if __name__ == "__main__":
    main(sys.argv[1:])
