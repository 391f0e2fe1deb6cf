"""Which pages are to be read again, and how."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.db.models import Q

from batches.errors import by_code
from batches.forms.choices import languages_field, offer_languages, option_field
from batches.ocr import Options

AS_BEFORE = "As for the batch"
ROTATION_NAMES = {
    0: "As it is",
    90: "A quarter to the right",
    180: "Upside down",
    270: "A quarter to the left",
}
OTHERWISE = ("languages", "segmentation", "preparation", "rotation")


class PageNumbersField(forms.TypedMultipleChoiceField):
    """Page numbers. Which of them there are is for the database to say: there may be a hundred thousand."""

    def valid_value(self, value: Any) -> bool:
        return str(value).isascii() and str(value).isdigit() and len(str(value)) < 10


class RetryForm(forms.Form):
    """Which pages are to be read again (those chosen, those of one reason, or all), and how.

    What is left empty stays as it is for the batch; all left empty: each page as before.
    """

    page = PageNumbersField(coerce=int, required=False)
    selected = forms.BooleanField(required=False)  # only the pages that are ticked
    all = forms.BooleanField(required=False)  # whatever was not read, files too
    code = forms.ChoiceField(choices=[(code, code) for code in by_code()], required=False)
    languages = languages_field(required=False)
    segmentation = option_field("segmentation", empty=AS_BEFORE)
    preparation = option_field("preparation", empty=AS_BEFORE)
    rotation = forms.TypedChoiceField(
        choices=[("", AS_BEFORE), *ROTATION_NAMES.items()],
        coerce=int,
        required=False,
        empty_value=None,
    )

    def __init__(self, *args: Any, languages: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer_languages(self, languages)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("selected") and not data.get("page"):
            raise forms.ValidationError("Tick the pages that are to be read again first.")
        return data

    def which(self) -> Q | None:
        """The pages chosen, by the button that was pressed; None for all."""
        if self.cleaned_data["all"]:
            return None
        if code := self.cleaned_data["code"]:
            return Q(error_code=code)
        return Q(number__in=self.cleaned_data["page"]) if self.cleaned_data["page"] else None

    def options(self, before: Options) -> Options | None:
        """How they are to be read, where that is otherwise than before."""
        chosen = {name: self.cleaned_data[name] for name in OTHERWISE}
        changes = {name: value for name, value in chosen.items() if value not in ("", None, [])}
        return Options.parse(before.as_json() | changes) if changes else None
