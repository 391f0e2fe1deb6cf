"""Reading a page image: how (`options`), by what (`engines`), and what came of it (`results`). Knows no Django."""

from batches.documents import Word
from batches.ocr.ending import stop
from batches.ocr.engines import Engine, probe
from batches.ocr.options import ROTATIONS, Options, PdfText, Preparation, Segmentation
from batches.ocr.recognition import recognise
from batches.ocr.results import TEXT_OF_PDF, PageResult, text_of

__all__ = [
    "ROTATIONS",
    "TEXT_OF_PDF",
    "Engine",
    "Options",
    "PageResult",
    "PdfText",
    "Preparation",
    "Segmentation",
    "Word",
    "probe",
    "recognise",
    "stop",
    "text_of",
]
