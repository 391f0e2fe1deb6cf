"""The system's Tesseract, run by pytesseract: one process a recognition.

It sees only images that we wrote (given a text file under an image's name it would open what is listed there).
It runs through `caged-tesseract`: its own process group, limits, a clean environment.
"""

from collections.abc import Iterable
from pathlib import Path

import pytesseract

from batches.errors import EngineTimeout
from batches.ocr.ending import check_wanted, end_group, engine_error

pytesseract.pytesseract.tesseract_cmd = str(Path(__file__).with_name("caged-tesseract"))


def tsv_of(image: Path, languages: Iterable[str], psm: int, timeout: float) -> str:
    """Tesseract's TSV of the image, which lies in a private folder: one row a page, block, line, word …

    `psm` is Tesseract's page segmentation mode; `timeout` is in seconds.
    Raises EngineCrashed, EngineTimeout, OutOfMemory, LanguageMissing or EngineMissing;
    FileNotFoundError or ValueError where what came out is no text.
    """
    output = image.with_name("out")
    check_wanted(image.parent)
    try:
        pytesseract.pytesseract.run_tesseract(
            str(image),
            str(output),
            extension="tsv",
            lang="+".join(languages),
            config=f"--psm {psm} -c tessedit_create_tsv=1",
            timeout=timeout,
        )
        return output.with_suffix(".tsv").read_text("utf-8").partition("\n")[2]  # after its heading
    except pytesseract.TesseractError as error:
        raise engine_error(error.status, str(error.message)) from error
    except RuntimeError as error:  # how pytesseract tells a timeout
        raise EngineTimeout from error
    finally:
        end_group(image.parent)
