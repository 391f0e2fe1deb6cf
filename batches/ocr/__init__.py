"""Reading a page image: how (`options`), by what (`engines`), and what came of it (`results`). Knows no Django."""

from batches.documents import Word
from batches.ocr.ending import stop
from batches.ocr.engines import Engine, probe
from batches.ocr.languages import language_name
from batches.ocr.options import ROTATIONS, Options, PdfText, Preparation, Segmentation
from batches.ocr.presets import BUILT_IN, NamedOptions
from batches.ocr.recognition import recognise
from batches.ocr.results import TEXT_OF_PDF, PageResult, text_of

__all__ = [
    "BUILT_IN",
    "ROTATIONS",
    "TEXT_OF_PDF",
    "Engine",
    "NamedOptions",
    "Options",
    "PageResult",
    "PdfText",
    "Preparation",
    "Segmentation",
    "Word",
    "language_name",
    "probe",
    "recognise",
    "stop",
    "text_of",
]
