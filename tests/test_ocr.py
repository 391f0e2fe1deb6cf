import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein

from batches import ocr
from batches.documents.images import write_page
from batches.errors import (
    BadOptions,
    EngineCrashed,
    EngineMissing,
    EngineTimeout,
    LanguageMissing,
    OcrError,
    OutOfMemory,
)
from tests.conftest import wait_for
from tests.scans import DPI, draw, lines_of, scan


def read(image: Image.Image, folder: Path, timeout: float = 60, **options) -> ocr.PageResult:
    chosen = ocr.Options(**options)
    page = write_page(image, DPI, folder, look=chosen.look())
    return ocr.recognise(page, chosen, engine=ocr.probe(), timeout=timeout)


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_page_is_read_in_one_run(tmp_path: Path):
    result = read(scan(7), tmp_path)
    truth = "\n".join(lines_of(7))
    assert Levenshtein.distance(result.text.replace("\n\n", "\n"), truth) <= 3
    assert result.confidence is not None
    assert result.confidence > 85
    assert result.width == pytest.approx(1000, abs=8)
    assert (result.dpi, result.rotation) == (DPI, 0)
    assert result.skew == pytest.approx(-0.4, abs=0.1)


def test_words_stand_where_they_were_drawn(tmp_path: Path):
    word = next(word for word in read(draw(lines_of(7)), tmp_path).words if word.text == "number")
    assert word.left == pytest.approx(80 + 103, abs=12)
    assert word.top == pytest.approx(88, abs=12)
    assert word.height == pytest.approx(28, abs=12)


def test_a_page_that_lies_on_its_side_is_read(tmp_path: Path):
    truth = "\n".join(lines_of(3) * 2)
    image = draw(lines_of(3) * 2, size=(1000, 1000), turn=90)
    assert Levenshtein.distance(read(image, tmp_path).text.replace("\n\n", "\n"), truth) <= 12


def test_a_blank_page_is_not_read_and_said_to_be_blank(
    tmp_path: Path, shim: Callable[[str], Path], monkeypatch
):
    use(monkeypatch, shim(f'echo run >> {tmp_path}/runs; exec $REAL "$@"'))
    result = read(draw([]), tmp_path)
    assert (result.text, result.words, result.confidence) == ("", (), None)
    assert "Blank page" in result.note
    assert not (tmp_path / "runs").exists()


def test_an_empty_text_is_looked_at_not_believed(tmp_path: Path, shim: Callable[[str], Path], monkeypatch):
    """The first way of reading finds nothing where there is something: another is tried."""
    blank = 'case "$*" in *"--psm 1 "*) $REAL "$@" -c tessedit_char_whitelist=§ ;; *) exec $REAL "$@" ;; esac'
    use(monkeypatch, shim(blank))
    assert "register" in read(scan(1), tmp_path).text


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("kill -SEGV $$", EngineCrashed),
        ("echo oops >&2; exit 1", EngineCrashed),
        ("exit 0", EngineCrashed),
        (': > "$2.tsv"', EngineCrashed),
        ('head -c 5000 /dev/urandom > "$2.tsv"', EngineCrashed),
        ('printf "level\\n1\\t1\\t0\\t0\\t0\\t0\\t0\\t0\\t5\\t5\\t-1\\t\\n" > "$2.tsv"', EngineCrashed),
        ('$REAL "$@"; head -c -20 "$2.tsv" > "$2.t"; mv "$2.t" "$2.tsv"', EngineCrashed),
        ("printf '\\377\\376' >&2; exit 1", EngineCrashed),
        ("echo \"terminate called after throwing 'std::bad_alloc'\" >&2; kill -ABRT $$", OutOfMemory),
        ("exit 127", EngineMissing),
        ("kill -XCPU $$", EngineTimeout),
    ],
)
def test_each_failure_has_its_name(tmp_path: Path, shim, monkeypatch, script: str, error: type[OcrError]):
    use(monkeypatch, shim(script))
    with pytest.raises(error):
        read(scan(1), tmp_path)


def test_an_engine_that_hangs_is_killed_with_its_children(tmp_path: Path, shim, monkeypatch):
    use(monkeypatch, shim(f"sleep 300 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; wait"))
    with pytest.raises(EngineTimeout):
        read(scan(1), tmp_path, timeout=0.5)
    for name in ("child", "self"):
        pid = int((tmp_path / name).read_text())
        wait_for(lambda pid=pid: not _runs(pid), 5)  # type: ignore[misc]


def _runs(pid: int) -> bool:
    """Whether the process runs; a zombie that init has not collected yet does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_engine_gets_a_clean_environment_and_one_thread(tmp_path: Path, shim, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "not for children")
    use(monkeypatch, shim(f'env > {tmp_path}/env; exec $REAL "$@"'))
    read(scan(1), tmp_path)
    env = (tmp_path / "env").read_text()
    assert "SECRET_KEY" not in env
    assert "OMP_THREAD_LIMIT=1" in env


def test_a_missing_language_is_named(tmp_path: Path):
    with pytest.raises(LanguageMissing):
        read(scan(1), tmp_path, languages=("xyz",))
    with pytest.raises(LanguageMissing, match=r"server: xyz\. Choose from .*eng"):
        ocr.probe().check_languages(["eng", "xyz"])


def test_the_probe_tells_version_and_languages():
    engine = ocr.probe()
    assert engine.name.startswith("Tesseract 5.")
    assert {"deu", "eng", "fra"} <= set(engine.languages)
    assert "osd" not in engine.languages


def test_the_probe_tells_that_there_is_no_engine(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="make setup"):
        ocr.probe()


def test_options_come_back_as_they_were():
    options = ocr.Options(("eng", "deu"), ocr.Segmentation.SPARSE, 270, ocr.PdfText.READ)
    assert ocr.Options.parse(options.as_json()) == options


def test_options_of_older_batches_are_read():
    older = ocr.Options(preparation=ocr.Preparation.OFF)
    assert ocr.Options.parse({"languages": ["eng"], "segmentation": "auto"}) == older


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"languages": [], "segmentation": "auto"},
        {"languages": ["eng"], "segmentation": "--psm 0"},
        {"languages": ["eng"], "segmentation": "auto", "config": "/etc/passwd"},
        {"languages": 5, "segmentation": "auto"},
        {"languages": ["eng"], "segmentation": "auto", "pdf_text": "perhaps"},
    ],
)
def test_other_options_are_refused(data: dict[str, object]):
    with pytest.raises(BadOptions):
        ocr.Options.parse(data)


def test_text_has_an_empty_line_between_paragraphs():
    words = [ocr.Word(1, 1, 1, 1, 0, 0, 5, 5, 90, "One"), ocr.Word(1, 1, 1, 2, 0, 0, 5, 5, 90, "line")]
    words += [ocr.Word(1, 1, 2, 1, 0, 0, 5, 5, 90, "two"), ocr.Word(1, 2, 1, 1, 0, 0, 5, 5, 90, "three")]
    assert ocr.text_of(words) == "One line\ntwo\n\nthree"
