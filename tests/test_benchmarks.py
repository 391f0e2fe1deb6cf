"""What is measured is measured rightly: error rates, the material, and that all who are timed have read the pages."""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from batches.ocr import Preparation, Segmentation
from benchmarks import accuracy, pages, rivals, run
from benchmarks.error_rates import error_rates
from benchmarks.pages import Drawn
from benchmarks.samples import Sample, samples_in


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> list[Drawn]:
    return pages.write(tmp_path_factory.mktemp("drawn") / "cards", pages.card, 2, dpi=200)


# ------------------------------------------------------------------ error rates


def test_error_rates_are_edits_over_the_length_of_the_truth():
    assert error_rates("ten letter", "ten lettre!") == (0.2, 0.5)


def test_case_counts_and_ways_of_setting_the_same_letter_do_not():
    assert error_rates("„Straſſe“ – ﬁn…", '"Strasse"  -\nfin...') == (0, 0)
    assert error_rates("Gru\u0364n", "Grün") == (0, 0)
    assert error_rates("abcd", "Abcd").cer == 0.25


def test_more_text_than_there_is_costs_more_than_none():
    assert error_rates("ab", "xxxxxx").cer == 3
    assert error_rates("ab", "").cer == 1


# ------------------------------------------------------------------ samples


def write_sample(folder: Path, name: str, **entry: str) -> None:
    (folder / name).touch()
    (folder / name).with_suffix(".gt.txt").write_text("true")
    manifest = folder / "manifest.json"
    rows = json.loads(manifest.read_text()) if manifest.exists() else []
    manifest.write_text(json.dumps([*rows, {"file": name, **entry}]))


def test_only_files_with_their_true_text_are_samples(tmp_path: Path):
    write_sample(tmp_path, "a.png")
    (tmp_path / "b.png").touch()
    assert [sample.path.name for sample in samples_in(tmp_path, ("eng",))] == ["a.png"]


def test_a_sample_is_read_in_the_installed_ones_of_its_languages(tmp_path: Path):
    write_sample(tmp_path, "a.png", lang="deu+nor")
    write_sample(tmp_path, "b.png", lang="nor")
    found = [sample.languages for sample in samples_in(tmp_path, ("eng", "deu"))]
    assert found == [("deu",), ("eng",)]


def test_the_baseline_is_what_plain_tesseract_gave(tmp_path: Path):
    write_sample(tmp_path, "a.png", lang="eng")
    heading = "file\ttess_lang\tCER\tWER\tseconds\tmode\n"
    (tmp_path / "BASELINE.tsv").write_text(
        heading + "a.png\tdeu\t0.1\t0.2\t3.5\tpsm1\na.png\tdeu\t0\t0\t1\tby hand\n"
    )
    (sample,) = samples_in(tmp_path, ("eng", "deu"))
    assert sample.languages == ("deu",)
    assert sample.baseline
    assert (sample.baseline.rates, sample.baseline.seconds) == ((0.1, 0.2), 3.5)


@pytest.mark.parametrize(
    ("name", "kind", "modern"),
    [
        ("en_book.png", "English book print, 300 dpi", True),
        ("turned.png", "brochure, tilted by 10 degrees", True),
        ("de.png", "German book 1879, roman type", True),
        ("de_fraktur.png", "", False),
        ("fr_print_1700s.png", "", False),
        ("la.png", "print, 18th century", False),
        ("fr.png", "French typescript, two columns", False),
        ("no_index_card.png", "", False),
    ],
)
def test_modern_print_is_told_by_name_and_kind(name: str, kind: str, modern: bool):
    assert Sample(Path(name), "", (), kind, None).is_modern_print is modern


# ------------------------------------------------------------------ who is measured


@pytest.mark.parametrize(
    "rival",
    [
        partial(rivals.xargs_tesseract, cores=2),
        rivals.pytesseract_loop,
        partial(rivals.tesserocr_alone, cores=1),
    ],
    ids=["xargs", "pytesseract", "tesserocr"],
)
def test_a_rival_reads_every_page(rival: Callable[[list[Drawn]], float], cards: list[Drawn]):
    assert rival(cards) > 0  # it raises where a page was not read


@pytest.mark.parametrize("read", [[], ["", ""], ["something else", "that is not on these cards"]])
def test_who_did_not_read_the_pages_is_not_timed(read: list[str], cards: list[Drawn]):
    with pytest.raises(ValueError, match="the rival"):
        pages.check(cards, read, "the rival")


def test_accuracy_is_measured_by_the_products_own_code(cards: list[Drawn], tmp_path: Path):
    sample = Sample(cards[0].path, cards[0].text, ("eng",), "", None)
    chosen = argparse.Namespace(
        engine="pytesseract",
        preparation=Preparation.OFF,
        segmentation=Segmentation.AUTO,
        no_baseline_time=False,
        out=tmp_path,
    )
    reading = accuracy.compare(sample, chosen)
    assert reading.ours.rates.cer < 0.05
    assert reading.theirs.rates.cer < 0.05
    assert error_rates(sample.truth, (tmp_path / "page-0001.txt").read_text()) == reading.ours.rates


def test_figures_are_chosen_by_words_of_their_names():
    assert run.wanted("cards,ocrmypdf") == ["throughput_vs_ocrmypdf", "cards_vs_limit"]
    assert run.wanted("") == run.FIGURES
    with pytest.raises(SystemExit, match="no figure is called speed"):
        run.wanted("speed")
