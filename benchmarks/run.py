"""`make bench`: measures the product against public tools in the same run; figures last, `NAME VALUE` a line."""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from benchmarks.pages import write_pages
from benchmarks.product import read_batch, running

PAGES = 24
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


def xargs_tesseract(paths: list[Path], cores: int) -> float:
    """Seconds that `xargs -P<cores> tesseract` takes for the same images, one thread each."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            "xargs",
            f"-P{cores}",
            "-I{}",
            "sh",
            "-c",
            f'tesseract "$1" {out}/$(basename "$1") --psm 1 -l eng',
            "_",
            "{}",
        ]
        started = time.monotonic()
        subprocess.run(
            command,
            input="\n".join(map(str, paths)),
            text=True,
            check=True,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_THREAD_LIMIT": "1"},
        )
        seconds = time.monotonic() - started
        assert len(list(Path(out).glob("*.txt"))) == len(paths)
        return seconds


def main() -> None:
    cores = os.cpu_count() or 1
    ratios: list[float] = []
    latencies: list[float] = []
    rate = 0.0
    with tempfile.TemporaryDirectory(prefix="ocr-pages-") as folder, running() as port:
        paths = write_pages(Path(folder), PAGES)
        for number in range(1, ROUNDS + 1):
            run = read_batch(port, paths)
            theirs = xargs_tesseract(paths, cores)
            ratios.append(theirs / run.seconds)
            latencies += run.latencies
            rate = 60 * PAGES / run.seconds
            print(
                f"round {number}: product {run.seconds:.1f} s, xargs {theirs:.1f} s, ratio {ratios[-1]:.3f}"
            )
    print(f"pages_per_minute {rate:.1f}")
    print(f"throughput_vs_xargs {median(ratios):.3f}")
    print(f"event_latency_p95_ms {quantiles(latencies, n=20)[-1]:.0f}")


if __name__ == "__main__":
    main()
