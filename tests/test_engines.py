"""Two engines, one interface: the same pages, options and failures. The fast one's reader ends by real faults."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein

from batches import health, ocr, services
from batches.documents import Kind, Limits, PageImage, load_page
from batches.documents.images import write_page
from batches.errors import (
    EngineCrashed,
    EngineMissing,
    EngineTimeout,
    LanguageMissing,
    OcrError,
    OutOfMemory,
)
from batches.helper import PROJECT
from batches.ocr import reader, warm
from tests.conftest import check_invariants, ended, wait_for
from tests.scans import DPI, draw, lines_of, scan
from tests.test_faults import children

SCANS = Path(__file__).parents[2] / "shared" / "scans"
# Pages on which a version of Tesseract makes no difference: what is hardly legible, each guesses in its own way.
SHARED = [
    "en_rotated90_phototest.png",
    "mul_eurotext.tif",
    "en_lowdpi_lucasta.jpg",
]
OPTIONS = ocr.Options(preparation=ocr.Preparation.OFF)


@pytest.fixture(scope="module")
def fast() -> Iterator[ocr.Engine]:
    """The fast engine; its reader is the module's, so that it is warm."""
    yield ocr.probe("tesserocr")
    warm.stop_reader()


@pytest.fixture
def own_reader() -> Iterator[None]:
    """A reader that begins and ends with the test."""
    warm.stop_reader()
    yield
    warm.stop_reader()


def read(engine: ocr.Engine, page: PageImage, timeout: float = 60, **options) -> ocr.PageResult:
    return ocr.recognise(page, ocr.Options(**options), engine=engine, timeout=timeout)


def a_page(folder: Path, image: Image.Image | None = None) -> PageImage:
    folder.mkdir(exist_ok=True)
    return write_page(image or scan(7), DPI, folder)


def pid_of_reader() -> int:
    """This thread's reader."""
    mine = warm._mine.helper
    assert mine
    return mine.process.pid


def tsv_of(engine: ocr.Engine, page: PageImage, languages: tuple[str, ...] = ("eng",), psm: int = 6) -> str:
    return engine.run(page.gray, languages, psm, 60)


def _error_rate(text: str, truth: str) -> float:
    return Levenshtein.distance(text, truth) / max(1, len(truth))


# ------------------------------------------------------------------ the same results


def test_both_engines_read_the_same_words_at_the_same_places(fast: ocr.Engine, tmp_path: Path):
    page = a_page(tmp_path)
    ours, theirs = (read(engine, page).words for engine in (fast, ocr.probe()))
    assert [word[:4] for word in ours] == [word[:4] for word in theirs]
    assert [word.text for word in ours] == [word.text for word in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[4:8] == pytest.approx(other[4:8], abs=3)


@pytest.mark.skipif(not SCANS.exists(), reason="the shared scans are not here")
@pytest.mark.parametrize("name", SHARED)
def test_both_engines_read_the_same_text_on_real_pages(fast: ocr.Engine, tmp_path: Path, name: str):
    kind = {".jpg": Kind.JPEG, ".png": Kind.PNG, ".tif": Kind.TIFF}[Path(name).suffix]
    page = load_page(SCANS / name, kind, 0, tmp_path, Limits())
    ours, theirs = (
        ocr.recognise(page, OPTIONS, engine=engine, timeout=60).text for engine in (fast, ocr.probe())
    )
    assert _error_rate(ours, theirs) <= 0.005


@pytest.mark.parametrize("way", ocr.Segmentation)
def test_both_engines_know_each_way_of_reading(fast: ocr.Engine, tmp_path: Path, way: ocr.Segmentation):
    page = a_page(tmp_path)
    ours, theirs = (read(engine, page, segmentation=way).text for engine in (fast, ocr.probe()))
    assert _error_rate(ours, theirs) <= 0.005


def test_a_page_is_read_as_if_it_were_the_first(fast: ocr.Engine, tmp_path: Path):
    """Nothing is learnt from one page for the next: who reads a page anew gets the same."""
    page, other = a_page(tmp_path / "a"), a_page(tmp_path / "b", draw(lines_of(3), blur=2, speckles=900))
    first = tsv_of(fast, page)
    tsv_of(fast, other)
    assert tsv_of(fast, page) == first


def test_a_blank_page_has_no_words(fast: ocr.Engine, tmp_path: Path):
    assert read(fast, a_page(tmp_path, draw([]))).words == ()


# ------------------------------------------------------------------ languages and models


def test_each_engine_says_its_name_and_version(fast: ocr.Engine, tmp_path: Path):
    assert fast.name == "Tesseract 5.5.4 (tesserocr)"
    assert read(fast, a_page(tmp_path)).engine == fast.name
    assert fast.languages == ocr.probe().languages


def test_a_missing_language_is_told(fast: ocr.Engine, tmp_path: Path):
    with pytest.raises(LanguageMissing):
        read(fast, a_page(tmp_path), languages=("eng", "xyz"))
    assert "register" in read(fast, a_page(tmp_path)).text


def test_a_model_that_is_none_is_told_as_a_missing_language(fast: ocr.Engine, tmp_path: Path, tessdata: Path):
    (tessdata / "bad.traineddata").write_bytes(b"nothing of the kind")
    with pytest.raises(LanguageMissing):
        tsv_of(ocr.probe("tesserocr"), a_page(tmp_path), ("bad",))


def test_models_of_two_sets_of_languages_stay_loaded(fast: ocr.Engine, tmp_path: Path):
    page = a_page(tmp_path)
    for languages in (("eng",), ("deu",), ("eng",), ("fra",), ("eng", "deu"), ("eng",)):
        assert "register" in tsv_of(fast, page, languages)


@pytest.fixture
def tessdata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's own folder of models, with one for a script."""
    system, folder = ocr.probe().tessdata, tmp_path / "tessdata"
    assert system
    (folder / "script").mkdir(parents=True)
    for model in system.glob("*.traineddata"):
        (folder / model.name).symlink_to(model)
    shutil.copy(system / "eng.traineddata", folder / "script" / "Latin.traineddata")
    monkeypatch.setenv("TESSDATA_PREFIX", str(folder))
    return folder


@pytest.mark.parametrize("name", ["pytesseract", "tesserocr"])
def test_a_script_model_appears_by_itself_and_reads(tessdata: Path, tmp_path: Path, name: str):
    engine = ocr.probe(name)
    assert engine.languages == ("deu", "eng", "fra", "script/Latin")
    assert engine.tessdata == tessdata
    assert "register" in read(engine, a_page(tmp_path), languages=("script/Latin",)).text


@pytest.mark.parametrize("name", ["pytesseract", "tesserocr"])
def test_models_are_told_apart_by_their_content(tessdata: Path, name: str):
    engine = ocr.probe(name)
    english, orientation = engine.model_digests(["eng"])
    assert engine.model_digests(["script/Latin", "xyz"]) == (english, "", orientation)
    (tessdata / "script" / "Latin.traineddata").write_bytes(b"another")
    assert engine.model_digests(["script/Latin"])[0] not in (english, "")


def test_a_model_that_was_replaced_is_loaded_anew(fast: ocr.Engine, tmp_path: Path, tessdata: Path):
    engine, page = ocr.probe("tesserocr"), a_page(tmp_path / "page")
    assert "register" in tsv_of(engine, page, ("script/Latin",))
    (tessdata / "script" / "Latin.traineddata").write_bytes(b"no model any more")
    with pytest.raises(LanguageMissing):
        tsv_of(engine, page, ("script/Latin",))


def test_without_the_systems_tesseract_the_folder_of_models_can_be_named(tessdata: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tessdata))
    assert "eng" in ocr.probe("tesserocr").languages
    monkeypatch.delenv("TESSDATA_PREFIX")
    with pytest.raises(EngineMissing):
        ocr.probe("tesserocr")


# ------------------------------------------------------------------ the same failures


def while_reading(
    engine: ocr.Engine, page: PageImage, what: Callable[[int], None], timeout: float = 60
) -> OcrError:
    """Do something to the reader while it reads the page, which takes it some seconds; how that ended."""
    tsv_of(engine, a_page(page.folder / "before"))  # the reader is there and warm
    told: list[int] = []

    def act() -> None:
        told.append(
            pid := int(wait_for(lambda: (page.folder / "pid").exists() and (page.folder / "pid").read_text()))
        )
        what(pid)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        with pytest.raises(OcrError) as raised:
            engine.read_words(page.gray, (page.width, page.height), ("eng",), 1, timeout)
    finally:
        thread.join()
    wait_for(lambda: not runs(told[0]), 5)
    assert not (page.folder / "pid").exists()
    return raised.value


def runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def slow_page(tmp_path: Path) -> PageImage:
    """It takes seconds to read."""
    return a_page(tmp_path / "slow", draw(lines_of(3) * 6, size=(1000, 2300)))


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGSEGV, EngineCrashed), (signal.SIGKILL, EngineCrashed), (signal.SIGXCPU, EngineTimeout)],
)
def test_a_reader_that_is_killed_is_told_and_replaced(
    fast: ocr.Engine, slow_page: PageImage, tmp_path: Path, number: int, error: type[OcrError]
):
    assert type(while_reading(fast, slow_page, lambda pid: os.kill(pid, number))) is error
    assert "register" in read(fast, a_page(tmp_path)).text


def test_a_reader_that_hangs_is_ended_in_time(fast: ocr.Engine, slow_page: PageImage):
    error = while_reading(fast, slow_page, lambda pid: os.kill(pid, signal.SIGSTOP), timeout=1)
    assert type(error) is EngineTimeout


def test_a_reading_is_stopped_from_outside(fast: ocr.Engine, slow_page: PageImage):
    error = while_reading(fast, slow_page, lambda pid: ocr.stop(slow_page.folder))
    assert type(error) is EngineCrashed
    pid = pid_of_reader() if warm._mine.helper else 0
    with pytest.raises(EngineCrashed):  # nothing begins in a folder that was stopped
        read(fast, slow_page)
    assert pid == (pid_of_reader() if warm._mine.helper else 0)


def test_a_page_that_takes_too_much_memory_is_told(fast: ocr.Engine, tmp_path: Path, monkeypatch, own_reader):
    monkeypatch.setenv("OCR_MEMORY_KB", "300000")
    Image.new("L", (12_000, 12_000), 255).save(tmp_path / "large.tif")
    with pytest.raises(OutOfMemory):
        fast.run(tmp_path / "large.tif", ("eng",), 6, 60)
    assert "register" in tsv_of(fast, a_page(tmp_path))


def test_an_image_that_is_not_the_pages_is_no_result(fast: ocr.Engine, tmp_path: Path):
    page = a_page(tmp_path)
    for content in (b"", b"/etc/hostname\n", page.gray.read_bytes()[:5000]):
        page.gray.write_bytes(content)
        with pytest.raises(EngineCrashed):
            read(fast, page)


def test_a_missing_package_is_told(fast: ocr.Engine, tmp_path: Path, monkeypatch, own_reader):
    """By a Python that has it not: the one this environment was made from."""
    monkeypatch.setattr(sys, "executable", sys._base_executable)  # type: ignore[attr-defined]
    warm.version.cache_clear()
    with pytest.raises(EngineMissing, match="make setup"):
        ocr.probe("tesserocr")
    with pytest.raises(EngineMissing, match="OCR_ENGINE=pytesseract"):
        read(fast, a_page(tmp_path))


# ------------------------------------------------------------------ the reader's cage


def test_the_reader_stays_from_page_to_page_and_ends_after_many(
    fast: ocr.Engine, tmp_path: Path, monkeypatch, own_reader
):
    monkeypatch.setattr(warm, "PAGES", 3)
    page, pids = a_page(tmp_path), []
    for _ in range(4):
        tsv_of(fast, page)
        pids.append(warm._mine.helper and pid_of_reader())
    assert pids[0] == pids[1]
    assert pids[2] is None
    assert pids[3]


def test_the_reader_has_limits_a_clean_environment_and_a_group_of_its_own(
    fast: ocr.Engine, tmp_path: Path, monkeypatch, own_reader
):
    monkeypatch.setenv("SECRET_KEY", "not for children")
    tsv_of(fast, a_page(tmp_path))
    pid = pid_of_reader()
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"SECRET_KEY" not in environment
    assert b"OMP_THREAD_LIMIT=1" in environment
    assert os.getpgid(pid) == os.getsid(pid) == pid
    assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
    for limit, most in [
        (resource.RLIMIT_AS, 4 << 30),
        (resource.RLIMIT_FSIZE, 16 << 20),
        (resource.RLIMIT_NOFILE, 64),
    ]:
        assert resource.prlimit(pid, limit) == (most, most)


def test_each_page_has_its_own_processor_time(fast: ocr.Engine, slow_page: PageImage):
    """The limit is the process's, and grows with each page by what one page may take."""
    tsv_of(fast, slow_page)
    pid = pid_of_reader()
    first, _ = resource.prlimit(pid, resource.RLIMIT_CPU)
    for _ in range(3):
        tsv_of(fast, slow_page)
    then, _ = resource.prlimit(pid, resource.RLIMIT_CPU)
    assert 60 < first < then < first + 60


def test_the_reader_dies_with_its_worker(tmp_path: Path):
    script = (
        "import sys, time; from pathlib import Path; from batches import ocr;"
        "ocr.probe('tesserocr').run(Path(sys.argv[1]), ['eng'], 6, 60);"
        "print(ocr.warm._mine.helper.process.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(a_page(tmp_path).gray)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT) as worker:
        assert worker.stdout
        pid = int(worker.stdout.readline())
        assert runs(pid)
        worker.kill()
    wait_for(lambda: not runs(pid), 5)


def test_a_page_that_left_the_reader_large_is_its_last(monkeypatch):
    monkeypatch.setattr(reader, "LARGE", 1)
    assert reader.Reader(200).is_done


# ------------------------------------------------------------------ in a worker


def is_reader(pid: int) -> bool:
    return warm.READER[1].encode() in Path(f"/proc/{pid}/cmdline").read_bytes()


def readers_of(pid: int) -> list[int]:
    """Those under a worker: its grandchildren."""
    return [reader for slot in children(pid) for reader in children(slot) if is_reader(reader)]


def test_a_worker_reads_with_the_fast_engine_and_takes_its_readers_along(start, make_batch):
    worker = start("worker", WORKER_SLOTS="2", OCR_ENGINE="tesserocr")
    batch = make_batch(3)
    wait_for(lambda: ended(batch))
    check_invariants(batch)
    assert batch.pages.engines() == [ocr.probe("tesserocr").name]
    pids = readers_of(worker.process.pid)
    assert pids
    worker.process.kill()
    wait_for(lambda: not any(runs(pid) for pid in pids), 5)


def test_a_batch_that_is_cancelled_stops_the_reader(start, make_batch, tmp_path: Path):
    draw(lines_of(3) * 40, size=(2000, 14_000)).save(tmp_path / "long.png")
    worker = start("worker", WORKER_SLOTS="1", OCR_ENGINE="tesserocr")
    batch = make_batch(files=[tmp_path / "long.png"])
    (pid,) = wait_for(lambda: readers_of(worker.process.pid))
    services.cancel_batch(batch)
    wait_for(lambda: ended(batch), 12)
    assert batch.cancelled == 1
    assert not runs(pid)
    check_invariants(batch)


# ------------------------------------------------------------------ which one reads


def test_the_operator_is_told_which_engine_reads(settings):
    settings.OCR_ENGINE = "tesserocr"
    assert health.engine_state() == "Tesseract 5.5.4 (tesserocr): deu, eng, fra"


def test_an_engine_that_is_none_is_refused_at_the_start():
    env = os.environ | {"OCR_ENGINE": "cuneiform"}
    command = [sys.executable, "-m", "ocrsite.settings"]
    ended = subprocess.run(command, env=env, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode
    assert "OCR_ENGINE" in ended.stderr
    assert "pytesseract, tesserocr" in ended.stderr
