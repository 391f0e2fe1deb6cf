"""Presets in a real Chromium: tried on a few pages, chosen, and read with."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from batches.models import Batch
from batches.presets import save_preset
from tests.browser import field
from tests.scans import write_scans

pytestmark = pytest.mark.django_db(transaction=True)


def test_from_files_over_a_trial_to_text(signed_in: Page, worker, tmp_path: Path):
    page = signed_in
    page.goto("/batches/new/")
    page.get_by_label("Files").set_input_files(write_scans(tmp_path, 4))
    page.get_by_role("button", name="Try on a few pages first").click()
    expect(page).to_have_url(re.compile("/batches/[0-9a-f-]{36}/try/$"))

    expect(page.get_by_label("Pages of 1 to 4")).to_have_value("1, 2, 4")
    page.get_by_label("Compared with").select_option("Index cards")
    page.get_by_label("Pages of 1 to 4").fill("2, 4")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("[data-state]")).to_have_attribute("data-state", "done")
    cards = page.get_by_role("region", name="Page 4, Index cards")
    expect(cards.locator(".text")).to_contain_text("Page number 4 of the register")
    expect(cards).to_contain_text("% sure")
    expect(page.get_by_role("status")).to_contain_text("Both are about as sure")
    expect(page.get_by_alt_text("Scan of page 4")).to_be_visible()

    page.get_by_role("button", name="Use this preset Index cards").click()
    expect(page).to_have_url(re.compile("/batches/[0-9a-f-]{36}/$"))
    expect(page.locator("[data-reading]")).to_contain_text("Read as “Index cards”")
    expect(field(page, "sentence")).to_have_text("Finished: all 4 pages read.")
    assert Batch.objects.get().reading_options().segmentation == "card"


def test_a_preset_ticks_its_languages_until_somebody_ticks_others(signed_in: Page, user):
    options = {"segmentation": "auto", "preparation": "auto", "pdf_text": "keep", "languages": ["deu"]}
    save_preset(user, "Letters", options)
    page = signed_in
    page.goto("/batches/new/")
    english, german = page.get_by_label("English"), page.get_by_label("German", exact=True)
    page.get_by_role("radio", name=re.compile("^Letters")).check()
    expect(german).to_be_checked()
    expect(english).not_to_be_checked()
    page.get_by_role("radio", name="Typewritten").check()
    expect(english).to_be_checked()
    expect(german).not_to_be_checked()
    page.get_by_label("French").check()
    page.get_by_role("radio", name=re.compile("^Letters")).check()
    expect(english).to_be_checked()
    expect(german).not_to_be_checked()
