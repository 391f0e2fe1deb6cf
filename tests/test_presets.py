"""Presets: what each does, a user's own, the form for a new batch and the command line that take them."""

import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.urls import reverse

from batches import ocr, services
from batches.errors import BadPreset
from batches.models import Batch, Preset
from batches.ocr import BUILT_IN, Options, language_name
from batches.ocr.languages import LANGUAGE_NAMES
from batches.ocr.presets import CHOICES
from batches.presets import MAX_PRESETS, named, save_preset
from tests.conftest import client_of
from tests.scans import write_scans

pytestmark = pytest.mark.django_db(transaction=True)

LETTERS: dict[str, Any] = {
    "segmentation": "block",
    "preparation": "faded",
    "pdf_text": "read",
    "languages": ["deu"],
}
FORM = LETTERS | {"name": "Letters"}


@pytest.fixture
def letters(user) -> Preset:
    return save_preset(user, "Letters", LETTERS)


def hand_over(user, **data: Any) -> Any:
    file = SimpleUploadedFile("card.png", b"no image, and nobody looks")
    given = {"files": [file], "languages": ["eng"]} | data
    return client_of(user).post("/batches/new/", given, follow=True)


def made() -> Options:
    return Batch.objects.latest("created").reading_options()


# ------------------------------------------------------------------ what there is


@pytest.mark.parametrize("option", CHOICES)
def test_each_value_has_a_name_that_people_know(option):
    assert set(CHOICES[option].names) == set(CHOICES[option].kind)


def test_each_preset_is_told_in_words():
    assert all(preset.purpose for preset in BUILT_IN)
    told = [preset.words.split(" · ")[:2] for preset in BUILT_IN]
    assert told == [
        ["Layout: automatic", "Preparation: what each page needs"],
        ["Layout: automatic", "Preparation: for faded or stained pages"],
        ["Layout: an index card", "Preparation: what each page needs"],
        ["Layout: automatic", "Preparation: what each page needs"],
        ["Layout: scattered words, as on a form", "Preparation: what each page needs"],
    ]


def test_old_print_adds_the_best_fraktur_model_that_is_installed():
    old_print = BUILT_IN[3]
    assert old_print.with_languages(["deu"], ["deu", "frk", "script/Fraktur"]) == ("deu", "script/Fraktur")
    assert old_print.with_languages(["frk"], ["deu", "frk"]) == ("frk",)
    assert old_print.with_languages(["deu"], ["deu", "eng"]) == ("deu",)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("eng", "English"),
        ("chi_sim_vert", "Chinese, simplified (vertical)"),
        ("script/Fraktur", "Fraktur (script)"),
        ("script/HanS_vert", "Chinese, simplified (script, vertical)"),
        ("Fraktur", "Fraktur (script)"),
        ("ours_2024", "ours_2024"),
    ],
)
def test_models_have_names_that_people_know(code, name):
    assert language_name(code) == name
    assert len(LANGUAGE_NAMES) > 125


def test_a_model_that_an_operator_adds_appears_by_itself(user, monkeypatch, tmp_path: Path):
    installed = Path("/usr/share/tesseract-ocr/5/tessdata")
    shutil.copytree(installed, tmp_path / "models")
    (tmp_path / "models/script").mkdir(exist_ok=True)
    shutil.copy(installed / "deu.traineddata", tmp_path / "models/script/Fraktur.traineddata")
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path / "models"))
    client = client_of(user)
    assert "Adds: Fraktur (script)" in client.get("/presets/").content.decode()
    assert "Fraktur (script)" in client.get("/batches/new/").content.decode()
    hand_over(user, preset="old-print")
    assert made().languages == ("eng", "script/Fraktur")


def test_without_an_engine_presets_are_kept_all_the_same(user, letters, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    client = client_of(user)
    assert "Tesseract is not installed" in client.get("/presets/").content.decode()
    client.post(reverse("batches:preset", args=[letters.pk]), FORM | {"name": "Old letters"})
    assert Preset.objects.get().name == "Old letters"


# ------------------------------------------------------------------ a user's own


def test_a_preset_is_copied_changed_and_deleted(user):
    client = client_of(user)
    page = client.get("/presets/new/?from=index-cards").content.decode()
    assert 'value="Index cards 2"' in page
    assert '<option value="card" selected>' in page
    client.post("/presets/new/", FORM)
    preset = user.presets.get()
    assert (preset.name, preset.options) == ("Letters", LETTERS)
    assert "Layout: one block of text · " in client.get("/presets/").content.decode()
    url = reverse("batches:preset", args=[preset.pk])
    client.post(url, FORM | {"name": "Cards", "segmentation": "card", "languages": []})
    preset.refresh_from_db()
    assert (preset.name, preset.options["segmentation"], preset.options["languages"]) == ("Cards", "card", [])
    delete = reverse("batches:preset-delete", args=[preset.pk])
    assert "Delete “Cards”?" in client.get(delete).content.decode()
    assert Preset.objects.exists()
    client.post(delete)
    assert not Preset.objects.exists()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"name": "letters"}, "A preset “Letters” is there already. Choose another name."),
        ({"name": "index CARDS"}, "A preset “Index cards” comes with the program."),
        ({"name": "printed-pages"}, "A preset “Printed pages” comes with the program."),
        ({"name": ""}, "This field is required."),
        ({"name": "x" * 61}, "at most 60 characters"),
        ({"segmentation": "diagonal"}, "diagonal is not one of the available choices"),
        ({"languages": ["xyz"]}, "xyz is not one of the available choices"),
    ],
)
def test_what_cannot_be_saved_is_told(user, letters, data, told):
    content = client_of(user).post("/presets/new/", FORM | {"name": "Other"} | data).content.decode()
    assert told in content
    assert Preset.objects.count() == 1


def test_a_preset_keeps_its_name_when_it_is_changed(user, letters):
    url = reverse("batches:preset", args=[letters.pk])
    assert client_of(user).post(url, FORM | {"preparation": "off"}).status_code == 302
    letters.refresh_from_db()
    assert letters.options["preparation"] == "off"


def test_a_user_has_so_many_presets_and_no_more(user):
    Preset.objects.bulk_create(
        Preset(owner=user, name=f"P{number}", options=LETTERS) for number in range(MAX_PRESETS)
    )
    content = client_of(user).post("/presets/new/", FORM).content.decode()
    assert "You have 50 presets of your own, as many as may be. Delete one first." in content
    with pytest.raises(BadPreset):
        save_preset(user, "Letters", LETTERS)


def test_anothers_preset_is_not_there(user, other, letters):
    client = client_of(other)
    assert "Letters" not in client.get("/presets/").content.decode()
    for name in ("batches:preset", "batches:preset-delete"):
        assert client.post(reverse(name, args=[letters.pk]), FORM).status_code == 404
    assert client.post(reverse("batches:preset", args=[uuid4()]), FORM).status_code == 404
    assert hand_over(other, preset=str(letters.pk)).status_code == 200
    assert not Batch.objects.exists()
    save_preset(other, "Letters", LETTERS)  # the name is free for everybody


def test_names_are_unique_in_the_database_too(user, letters):
    with pytest.raises(IntegrityError):
        Preset.objects.create(owner=user, name="Letters", options={})


def test_a_name_is_shown_as_text(user):
    save_preset(user, "<b>Box</b>", LETTERS)
    hand_over(user, preset=named(user, "<b>box</b>").key)  # type: ignore[union-attr]
    client = client_of(user)
    for url in ("/presets/", "/batches/new/", Batch.objects.get().get_absolute_url()):
        content = client.get(url).content.decode()
        assert "<b>Box" not in content
        assert "&lt;b&gt;Box" in content


# ------------------------------------------------------------------ a new batch


def test_a_batch_is_read_as_its_preset_says(user):
    content = hand_over(user, preset="forms-and-tables").content.decode()
    assert (made().segmentation, made().preparation) == ("sparse", "auto")
    assert "Read as “Forms &amp; tables”" in content


def test_without_a_word_pages_are_printed_pages(user):
    hand_over(user)
    assert made() == Options()
    assert Batch.objects.get().preset == "Printed pages"


def test_what_is_chosen_otherwise_goes_before_the_preset(user):
    hand_over(user, preset="typewritten", segmentation="block", pdf_text="read")
    assert (made().segmentation, made().preparation, made().pdf_text) == ("block", "faded", "read")
    assert Batch.objects.get().preset == ""


def test_the_preset_of_the_batch_before_is_chosen_first(user, letters):
    hand_over(user, preset=str(letters.pk))
    content = client_of(user).get("/batches/new/").content.decode()
    assert f'value="{letters.pk}" checked' in content
    letters.delete()
    assert 'value="printed-pages" checked' in client_of(user).get("/batches/new/").content.decode()


@pytest.mark.parametrize(
    ("ticked", "as_ticked", "read"),
    [
        (["eng"], "", ("deu",)),  # nothing was changed: the preset's own
        (["eng", "fra"], "", ("eng", "fra", "deu")),
        (["eng"], "1", ("eng",)),  # the page has shown what is ticked
    ],
)
def test_a_presets_languages_come_with_it(user, letters, ticked, as_ticked, read):
    hand_over(user, preset=str(letters.pk), languages=ticked, as_ticked=as_ticked)
    assert set(made().languages) == set(read)


def test_a_presets_language_that_is_gone_is_named(user):
    preset = save_preset(user, "Runes", LETTERS | {"languages": ["xyz"]})
    content = hand_over(user, preset=str(preset.pk)).content.decode()
    assert "Not installed on this server: xyz. Choose from deu, eng, fra" in content
    assert not Batch.objects.exists()
    assert "Not installed any more: xyz" in client_of(user).get("/presets/").content.decode()


def test_choices_are_saved_as_a_preset_with_the_batch(user):
    data = {"preset": "typewritten", "segmentation": "block", "languages": ["deu"], "as_ticked": "1"}
    hand_over(user, **data, save_as="Carbon copies")
    assert user.presets.get().options == LETTERS | {"pdf_text": "keep"}
    assert Batch.objects.get().preset == "Carbon copies"


def test_a_name_that_is_taken_makes_no_batch(user, letters):
    content = hand_over(user, save_as="LETTERS").content.decode()
    assert "A preset “Letters” is there already" in content
    assert not Batch.objects.exists()


def test_a_batch_does_not_change_with_its_preset(user, letters):
    hand_over(user, preset=str(letters.pk))
    save_preset(user, "Other", LETTERS | {"preparation": "off"}, letters)
    letters.delete()
    assert made() == Options.parse(LETTERS)
    assert Batch.objects.get().preset == "Letters"


def test_a_preset_changed_while_it_was_deleted_is_made_anew(user, letters):
    Preset.objects.all().delete()
    assert save_preset(user, "Letters", LETTERS, letters).pk != letters.pk


# ------------------------------------------------------------------ the command line


def told_by(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as told:
        call_command("ocr", *arguments)
    return told.value


def test_the_command_line_names_the_presets_that_there_are(user, letters, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("batches.management.commands.ocr._Stack.ensure", lambda self: None)
    (scan,) = write_scans(tmp_path, 1)
    error = told_by(str(scan), "--preset", "nonsense", "--owner", "ada")
    assert error.returncode == 2
    assert str(error) == (
        "There is no preset “nonsense”. Choose from: printed-pages, typewritten, index-cards, old-print, "
        "forms-and-tables, “Letters”."
    )


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        ((), Options(), "Printed pages"),
        (("--preset", "Index-Cards"), Options.parse(LETTERS | {"segmentation": "card", "preparation": "auto", "pdf_text": "keep", "languages": ["eng"]}), "Index cards"),
        (("--preset", "letters"), Options.parse(LETTERS), "Letters"),
        (("--preset", "letters", "--lang", "eng+fra"), Options.parse(LETTERS | {"languages": ["eng", "fra"]}), "Letters"),
        (("--preset", "letters", "--pdf-text", "keep"), Options.parse(LETTERS | {"pdf_text": "keep"}), ""),
    ],
)  # fmt: skip
def test_the_command_line_reads_by_a_preset(
    user, letters, tmp_path: Path, monkeypatch, arguments, options, name
):
    monkeypatch.setattr("batches.management.commands.ocr._Stack.ensure", lambda self: None)
    (scan,) = write_scans(tmp_path, 1)
    create_batch = services.create_batch

    def cancelled(*args: Any, **kwargs: Any) -> Batch:
        batch = create_batch(*args, **kwargs)
        services.cancel_batch(batch)  # how it would be read is asked here, not what it says
        return batch

    monkeypatch.setattr(services, "create_batch", cancelled)
    with pytest.raises(SystemExit):
        call_command("ocr", str(scan), "--owner", "ada", "--out", str(tmp_path), *arguments)
    batch = Batch.objects.get()
    assert (batch.reading_options(), batch.preset) == (options, name)


def test_every_installed_language_is_listed(user):
    content = client_of(user).get("/presets/").content.decode()
    for code in ocr.probe().languages:
        assert f"<li>{language_name(code)} <small>{code}</small></li>" in content
