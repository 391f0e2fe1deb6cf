"""A preset of the user's own."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.models import User

from batches.errors import BadPreset
from batches.forms.choices import languages_field, offer_languages, option_field
from batches.names import shown
from batches.ocr import NamedOptions
from batches.ocr.presets import CHOICES
from batches.presets import MAX_NAME, check_name


class PresetForm(forms.Form):
    """A name and options. `pk`: the preset that is changed by it."""

    name = forms.CharField(max_length=MAX_NAME)
    segmentation = option_field("segmentation")
    preparation = option_field("preparation")
    pdf_text = option_field("pdf_text")
    languages = languages_field(
        required=False,
        help_text="Ticked here, they are chosen with the preset. None ticked: those of each batch.",
    )

    def __init__(
        self, *args: Any, owner: User, languages: Iterable[str], pk: UUID | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.owner, self.pk = owner, pk
        # What the preset has stays a choice, installed or not: saving it must not drop a language unseen.
        own = self.initial.get("languages", ())
        offer_languages(self, dict.fromkeys([*languages, *own]))

    @staticmethod
    def initial_of(preset: NamedOptions, name: str) -> dict[str, Any]:
        """The fields as they are for this preset, under that name."""
        return {**preset.settings, "name": name, "languages": list(preset.languages)}

    def clean_name(self) -> str:
        name = shown(self.cleaned_data["name"], MAX_NAME)
        try:
            check_name(self.owner, name, self.pk)
        except BadPreset as error:
            raise forms.ValidationError(str(error), error.code) from error
        return name

    def options(self) -> dict[str, Any]:
        """What is chosen, as a preset keeps it."""
        return preset_options(self.cleaned_data, self.cleaned_data["languages"])


def preset_options(settings: Mapping[str, Any], languages: Iterable[str]) -> dict[str, Any]:
    """Options as a preset keeps them."""
    return {option: str(settings[option]) for option in CHOICES} | {"languages": list(languages)}
