"""`python -m benchmarks.accuracy [FOLDER]`: how well and how fast pages with known text are read.

Each file is read by the product's own code, without a server, and by plain Tesseract (`--psm 1`, one thread) on the
same pages in the same run. A table, then figures, `NAME VALUE` a line. `benchmarks/samples.py` says what the folder
may hold. Text that a PDF brings along is not taken: all pages are read from their image.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from statistics import fmean, median

import pypdfium2 as pdfium

from batches import documents, ocr
from batches.documents import Document, Limits, PageImage
from batches.errors import OcrError
from batches.ocr import Engine, Options, PdfText, Preparation, Segmentation
from benchmarks.error_rates import error_rates
from benchmarks.samples import Measured, Sample, samples_in

PROJECT = Path(__file__).parent.parent
FOLDER = PROJECT.parent / "shared" / "scans"
PDF_DPI = 300  # for plain Tesseract, which reads no PDF
SECONDS_A_PAGE = 300.0


@dataclass(frozen=True)
class Reading:
    """One file, read by both. `remark`: what the product told of its pages."""

    sample: Sample
    theirs: Measured
    ours: Measured
    text: str
    remark: str

    @property
    def added(self) -> float:
        """CER above the baseline's, each counted as 1 at most."""
        return min(self.ours.rates.cer, 1.0) - min(self.theirs.rates.cer, 1.0)


# ------------------------------------------------------------------ reading


def read(sample: Sample, options: Options, engine: Engine) -> tuple[Measured, str, str]:
    """What the product makes of the file; its text; what it remarks. What fails has no text."""
    started = time.monotonic()
    pages = list(_read_pages(sample.path, options, engine))
    text = "\n\n".join(text for text, _ in pages)
    seconds = time.monotonic() - started
    remarks = dict.fromkeys(remark for _, remark in pages if remark)
    return Measured(error_rates(sample.truth, text), seconds), text, "; ".join(remarks)


def _read_pages(path: Path, options: Options, engine: Engine) -> Iterator[tuple[str, str]]:
    """Text and remark of each page, or the failure of the file."""
    try:
        document = documents.inspect(path, Limits())
        assert isinstance(document, Document), f"{path} is an archive"
    except OcrError as error:
        yield "", _told(error)
        return
    for index in range(document.pages):
        try:
            result = _read_page(path, document, index, options, engine)
        except OcrError as error:
            yield "", _told(error)
        else:
            yield result.text, result.note


def _told(error: OcrError) -> str:
    return f"{error.code}: {error}"


def _read_page(
    path: Path, document: Document, index: int, options: Options, engine: Engine
) -> ocr.PageResult:
    with tempfile.TemporaryDirectory(prefix="ocr-accuracy-") as folder:

        def look(more: int = 0) -> PageImage:
            return documents.load_page(
                path, document.kind, index, Path(folder), Limits(), keep_text=False, look=options.look(more)
            )

        return ocr.recognise(look(), options, engine=engine, timeout=SECONDS_A_PAGE, look_again=look)


def read_plainly(sample: Sample) -> Measured:
    """What `tesseract --psm 1` makes of it, one thread; PDF pages drawn first, in gray."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ocr-accuracy-") as folder:
        images = (
            list(_draw(sample.path, Path(folder))) if sample.path.suffix.lower() == ".pdf" else [sample.path]
        )
        text = "\n\n".join(_tesseract(image, sample.languages) for image in images)
    seconds = time.monotonic() - started
    return Measured(error_rates(sample.truth, text), seconds)


def _draw(path: Path, folder: Path) -> Iterator[Path]:
    pdf = pdfium.PdfDocument(path)
    for number, page in enumerate(pdf):
        target = folder / f"{number}.tif"
        page.render(scale=PDF_DPI / 72, grayscale=True).to_pil().save(target, dpi=(PDF_DPI, PDF_DPI))
        yield target


def _tesseract(image: Path, languages: tuple[str, ...]) -> str:
    """Its text; none where it cannot read the file."""
    command = ["tesseract", str(image), "-", "--psm", "1", "-l", "+".join(languages)]
    environment = os.environ | {"OMP_THREAD_LIMIT": "1"}
    return subprocess.run(command, capture_output=True, env=environment).stdout.decode()


# ------------------------------------------------------------------ the command


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="NAME.ext beside NAME.gt.txt")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="names, such as '*card*'")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time; more than 1 makes times vague")
    parser.add_argument(
        "--no-baseline-time",
        action="store_true",
        help="take the baseline from BASELINE.tsv where it is there",
    )
    parser.add_argument("--preparation", type=Preparation, default=Options().preparation)
    parser.add_argument("--segmentation", type=Segmentation, default=Options().segmentation)
    parser.add_argument("--engine", choices=["pytesseract", "tesserocr"], default="pytesseract")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write what was read there, NAME.txt")
    return parser.parse_args()


def compare(sample: Sample, chosen: argparse.Namespace) -> Reading:
    """The file, read by both."""
    options = Options(
        sample.languages,
        chosen.segmentation,
        pdf_text=PdfText.READ,
        preparation=chosen.preparation,
    )
    known = sample.baseline if chosen.no_baseline_time else None
    ours, text, remark = read(sample, options, ocr.probe(chosen.engine))
    if chosen.out:
        (chosen.out / f"{sample.path.stem}.txt").write_text(text, "utf-8")
    return Reading(sample, known or read_plainly(sample), ours, text, remark)


def print_row(reading: Reading) -> None:
    theirs, ours = reading.theirs, reading.ours
    mark = "" if reading.added <= 0.01 else " worse"
    print(
        f"| {reading.sample.path.name:<42} | {theirs.rates.cer:7.4f} | {theirs.rates.wer:7.4f} "
        f"| {ours.rates.cer:7.4f} | {ours.rates.wer:7.4f} | {theirs.seconds:6.1f} | {ours.seconds:6.1f} "
        f"| {reading.remark}{mark} |",
        flush=True,
    )


def mean_cer_ratio(readings: list[Reading]) -> float:
    """Ours over the baseline's, each file counted once, and as 1 at most."""
    ours = fmean(min(reading.ours.rates.cer, 1.0) for reading in readings)
    theirs = fmean(min(reading.theirs.rates.cer, 1.0) for reading in readings)
    return ours / theirs if theirs else float("nan")


def figures(readings: list[Reading]) -> Iterator[tuple[str, float]]:
    """What the goals are about, as far as there are such files."""
    modern = [reading.ours.rates.cer for reading in readings if reading.sample.is_modern_print]
    cards = [reading for reading in readings if reading.sample.is_card]
    if modern:
        yield "modern_print_median_cer", median(modern)
    yield "mean_cer_vs_baseline", mean_cer_ratio(readings)
    if cards:
        yield "cards_cer_vs_baseline", mean_cer_ratio(cards)
    yield "worst_cer_added", max(reading.added for reading in readings)
    ours = sum(reading.ours.seconds for reading in readings)
    yield "seconds_vs_baseline", ours / sum(reading.theirs.seconds for reading in readings)


def main() -> None:
    chosen = arguments()
    if not chosen.folder.is_dir():
        sys.exit(
            f"There is no folder {chosen.folder}. Name one that has NAME.gt.txt, the true text, beside NAME.png."
        )
    samples = samples_in(chosen.folder, ocr.probe().languages)
    samples = [sample for sample in samples if fnmatch(sample.path.name, chosen.only)]
    if not samples:
        sys.exit(
            f"No file in {chosen.folder} that is called {chosen.only} has its true text beside it (NAME.gt.txt)."
        )
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
    print("| file | baseline CER | WER | CER | WER | baseline seconds | seconds | remark |")
    print("|---|---|---|---|---|---|---|---|")
    readings = []
    # The decoders are loaded before anything is timed.
    warm = (samples[0].path, Limits())
    with ProcessPoolExecutor(chosen.jobs, initializer=documents.inspect, initargs=warm) as pool:
        for reading in pool.map(compare, samples, [chosen] * len(samples)):
            print_row(reading)
            readings.append(reading)
    for name, value in figures(readings):
        print(f"{name} {value:.4f}")


if __name__ == "__main__":
    main()
