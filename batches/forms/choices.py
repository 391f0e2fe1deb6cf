"""Fields for how pages are read, made from the options that there are."""

from collections.abc import Iterable
from typing import Any

from django import forms

from batches.ocr import language_name
from batches.ocr.presets import CHOICES


def language_choices(languages: Iterable[str]) -> list[tuple[str, str]]:
    """Each installed language with its name, in the order of the names."""
    return sorted(
        ((code, language_name(code)) for code in languages), key=lambda choice: choice[1].casefold()
    )


def languages_field(**kwargs: Any) -> forms.MultipleChoiceField:
    """Boxes to tick. Which languages there are, `offer_languages` tells."""
    return forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, **kwargs)


def offer_languages(form: forms.Form, languages: Iterable[str]) -> forms.MultipleChoiceField:
    """Let the form's field offer the installed languages."""
    field = form.fields["languages"]
    assert isinstance(field, forms.MultipleChoiceField)
    field.choices = language_choices(languages)
    return field


def option_field(option: str, *, empty: str = "") -> forms.ChoiceField:
    """One of the option's values; with `empty`, the choice to leave it as it would be, and what that is called."""
    choices = CHOICES[option].values
    if empty:
        choices = [("", empty), *choices]
    return forms.ChoiceField(label=CHOICES[option].title, choices=choices, required=not empty)
