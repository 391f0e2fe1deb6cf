"""The page on which two presets are tried: what may be chosen there, what it tells, and the choice."""

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from batches import comparison, services, tasks
from batches.comparison import Side, comparison_of, differences, duration, verdict
from batches.forms.trial import sample_pages
from batches.models import Batch, Trial
from batches.ocr import BUILT_IN
from batches.presets import save_preset
from tests.conftest import client_of, prepare_next

pytestmark = pytest.mark.django_db(transaction=True)

PRINTED, CARDS = (BUILT_IN[number].options(["eng"]) for number in (0, 2))
TWO = [("Printed pages", PRINTED), ("Index cards", CARDS)]
CHOICE = {"first": "printed-pages", "second": "index-cards", "pages": "1, 3"}


@pytest.fixture
def batch(make_batch) -> Batch:
    """Three pages, ready to be read; held."""
    batch = make_batch(3)
    Batch.objects.update(held=True, preset="Printed pages")
    prepare_next()
    batch.refresh_from_db()
    return batch  # type: ignore[no-any-return]


def url_of(batch: Batch, name: str = "try") -> str:
    return reverse(f"batches:{name}", args=[batch.pk])


def read(batch: Batch, side: int, **fields: Any) -> None:
    batch.trials.filter(side=side).update(status="succeeded", **fields)


# ------------------------------------------------------------------ choosing what is tried


def test_the_button_beside_start_leads_to_the_page_and_holds_the_batch(user):
    data = {"files": [SimpleUploadedFile("card.png", b"x")], "languages": ["eng"], "hold": "1"}
    answer = client_of(user).post("/batches/new/", data, follow=True)
    assert answer.redirect_chain[0][0] == url_of(Batch.objects.get())
    assert b"The files are still being looked at" in answer.content
    assert b'data-state="looking"' in answer.content
    assert Batch.objects.get().held


def test_typical_pages_and_two_presets_are_suggested(batch, user):
    content = client_of(user).get(url_of(batch)).content.decode()
    assert 'value="1, 2, 3"' in content
    assert content.count("selected") == 2
    assert '<option value="printed-pages" selected>' in content
    assert [sample_pages(total) for total in (0, 1, 2, 101)] == [[], [1], [1, 2], [1, 51, 101]]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"pages": "one"}, "Give page numbers with commas between them"),
        ({"pages": "²"}, "Give page numbers with commas between them"),
        ({"pages": ","}, "Choose 1 to 5 pages."),
        ({"pages": "1 2 3 4 5 6"}, "Choose 1 to 5 pages."),
        ({"pages": "0, 3, 4"}, "There is no page 0, 4: the batch has pages 1 to 3."),
        ({"pages": "9" * 99}, "the batch has pages 1 to 3."),
        ({"second": "printed-pages"}, "Choose two presets that differ."),
        ({"second": "nonsense"}, "nonsense is not one of the available choices"),
    ],
)
def test_a_choice_that_cannot_be_tried_is_told(batch, user, data, told):
    content = client_of(user).post(url_of(batch), CHOICE | data).content.decode()
    assert told in content
    assert not Trial.objects.exists()


def test_a_presets_own_languages_take_the_place_of_the_batchs(batch, user):
    letters = save_preset(user, "Letters", {"segmentation": "block", "languages": ["deu"]})
    client_of(user).post(url_of(batch), CHOICE | {"second": str(letters.pk), "pages": "2;2"})
    first, second = batch.trials.all()
    assert (first.page.number, first.options) == (2, PRINTED.as_json())
    assert (second.preset, second.options["languages"]) == ("Letters", ["deu"])


def test_a_preset_with_a_language_that_is_gone_is_not_tried(batch, user):
    runes = save_preset(user, "Runes", {"segmentation": "block", "languages": ["xyz"]})
    content = client_of(user).post(url_of(batch), CHOICE | {"second": str(runes.pk)}).content.decode()
    assert "Not installed on this server: xyz" in content


def test_without_an_engine_it_is_said(batch, user, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Tesseract is not installed" in client_of(user).post(url_of(batch), CHOICE).content.decode()


def test_what_was_tried_is_what_the_form_shows(batch, user):
    client = client_of(user)
    client.post(url_of(batch), CHOICE | {"first": "typewritten"})
    content = client.get(url_of(batch)).content.decode()
    assert 'value="1, 3"' in content
    assert '<option value="typewritten" selected>' in content


def test_of_an_ended_batch_nothing_is_tried(batch, user):
    services.cancel_batch(batch)
    client = client_of(user)
    for answer in (client.get(url_of(batch), follow=True), client.post(url_of(batch), CHOICE, follow=True)):
        assert answer.redirect_chain[0][0] == batch.get_absolute_url()
        assert b"There is nothing left to try" in answer.content


# ------------------------------------------------------------------ side by side


def test_the_texts_stand_side_by_side_while_others_are_still_to_come(batch, user):
    services.try_presets(batch, [1, 3], TWO)
    tasks.work()
    content = client_of(user).get(url_of(batch, "try-results")).content.decode()
    assert 'data-state="open"' in content
    assert "3 readings to go" in content
    assert "The parish register of Saint Mary" in content
    image = re.search(r'src="(.+?/image/)"', content)
    assert image
    assert client_of(user).get(image[1])["Content-Type"] == "image/jpeg"
    assert "being read" not in content
    for _ in range(3):
        tasks.work()
    content = client_of(user).get(url_of(batch, "try-results")).content.decode()
    assert 'data-state="done"' in content
    assert "Both are about as sure of what they read" in content


def test_the_whole_batch_is_estimated_for_all_workers_together(batch, settings):
    settings.WORKER_SLOTS = 4
    Batch.objects.update(total=401)
    Batch.objects.update(succeeded=1)
    services.try_presets(batch, [1, 3], TWO)
    read(batch, 1, confidence=90.0, seconds=3.0, words=50)
    read(batch, 2, confidence=95.0, seconds=6.0, words=48)
    batch.refresh_from_db()
    shown = comparison_of(batch)
    assert shown
    assert [side.duration for side in shown.sides] == ["about 5 minutes", "about 10 minutes"]
    assert shown.recommended == shown.sides[1]
    assert shown.verdict == "“Index cards” is recommended: it is surer of what it read, 95 % against 90 %."


def test_sides_are_compared_over_the_pages_that_both_have_read(batch):
    services.try_presets(batch, [1, 3], TWO)
    read(batch, 1, confidence=90.0, seconds=3.0, words=50)
    read(batch, 2, confidence=95.0, seconds=6.0, words=48)
    batch.trials.filter(side=2, page__number=3).update(status="failed")
    batch.trials.filter(side=1, page__number=3).update(confidence=10.0, words=1000)
    shown = comparison_of(batch)
    assert shown
    assert [(side.confidence, side.words) for side in shown.sides] == [(90.0, 50), (95.0, 48)]
    assert shown.verdict == "“Printed pages” is recommended: the other could not read a page that it could."


def side(name: str, confidence: float | None, *, words: int = 100, seconds: float = 2.0, failed: int = 0):
    return Side(failed, Trial(preset=name, options={}), words, confidence, seconds, None)


@pytest.mark.parametrize(
    ("one", "two", "told", "recommended"),
    [
        ({"confidence": 90}, {"confidence": 84}, "“A” is recommended: it is surer", "A"),
        ({"confidence": 80}, {"confidence": 84}, "“B” is recommended: it is surer", "B"),
        ({"confidence": 90}, {"confidence": 89.5}, "about as sure of what they read: choose by the text", None),
        ({"confidence": 90}, {"confidence": 90.5, "seconds": 1}, "about as sure of what they read, and “B” is faster", "B"),
        ({"confidence": 97, "words": 60}, {"confidence": 84}, "“A” is surer (97 % against 84 %), but has found far fewer words: 60 against 100", None),
        ({"confidence": None}, {"confidence": 40}, "“B” is recommended: the other has found no text", "B"),
        ({"confidence": None}, {"confidence": None}, "Neither has found any text", None),
        ({"confidence": 99, "failed": 2}, {"confidence": 40}, "“B” is recommended: the other could not read 2 pages", "B"),
    ],
)  # fmt: skip
def test_the_verdict_is_told_in_words(one, two, told, recommended):
    words, chosen = verdict(side("A", **one), side("B", **two))
    assert told in words
    assert (chosen.preset if chosen else None) == recommended


def test_words_that_differ_are_marked(monkeypatch):
    assert differences("the forty  mills\nthere", "the fonty  mills") == [
        [("the ", False), ("forty", True), ("  mills\n", False), ("there", True)],
        [("the ", False), ("fonty", True), ("  mills", False)],
    ]
    monkeypatch.setattr(comparison, "MAX_COMPARED", 2)
    assert differences("one two three", "") == [[("one two three", False)], [("", False)]]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "less than a minute"), (62, "about 1 minute"), (3600, "about 60 minutes"), (9000, "about 2 hours")],
)
def test_durations_are_told_as_people_say_them(seconds, words):
    assert duration(seconds) == words


def test_text_and_names_are_shown_as_text(batch, user):
    services.try_presets(batch, [1], [("<b>A", PRINTED), ("<b>B", CARDS)])
    read(batch, 1, text="<script>1</script> <i>", confidence=1.0, seconds=1.0)
    read(batch, 2, text="<script>2</script> <i>", confidence=1.0, seconds=1.0)
    content = client_of(user).get(url_of(batch)).content.decode()
    assert "<script>1" not in content
    assert "<b>" not in content
    assert "<mark>&lt;script&gt;1&lt;/script&gt;</mark>" in content


def test_the_page_costs_the_same_for_many_trials(batch, user, django_assert_max_num_queries):
    services.try_presets(batch, [1, 2, 3], TWO)
    client = client_of(user)
    with django_assert_max_num_queries(4):  # session, user, batch, trials with their pages
        client.get(url_of(batch, "try-results"))


# ------------------------------------------------------------------ choosing one


def test_the_preset_that_is_chosen_is_used_and_the_batch_goes_on(batch, user):
    services.try_presets(batch, [1], TWO)
    second = batch.trials.get(side=2)
    answer = client_of(user).post(url_of(batch, "try-use"), {"trial": second.pk}, follow=True)
    assert "“Index cards” is used for the pages that have not been read." in answer.content.decode()
    batch.refresh_from_db()
    assert (batch.status, batch.preset, batch.options["segmentation"]) == ("running", "Index cards", "card")


@pytest.mark.parametrize("number", ["", "x", "²", "999", "9" * 30])
def test_a_choice_of_what_is_not_compared_any_more_changes_nothing(batch, user, number):
    services.try_presets(batch, [1], TWO)
    answer = client_of(user).post(url_of(batch, "try-use"), {"trial": number}, follow=True)
    assert "That is no longer what is compared" in answer.content.decode()
    batch.refresh_from_db()
    assert (batch.status, batch.preset) == ("paused", "Printed pages")


def test_anothers_trial_cannot_be_used(batch, make_batch, user, other):
    services.try_presets(batch, [1], TWO)
    own = make_batch(1, owner=other)
    client_of(other).post(url_of(own, "try-use"), {"trial": batch.trials.first().pk})
    own.refresh_from_db()
    assert own.preset == ""
    image = reverse("batches:try-image", args=[own.pk, batch.trials.first().pk])
    assert client_of(other).get(image).status_code == 404
