"""Which pages are tried, and with which two presets."""

import re
from typing import Any

from django import forms

from batches.models import Batch
from batches.ocr import NamedOptions
from batches.ocr.presets import BUILT_IN, DEFAULT
from batches.presets import presets_of

MAX_PAGES = 5


class TrialForm(forms.Form):
    """Page numbers of the batch, and two of its owner's presets."""

    pages = forms.CharField(
        max_length=100,
        help_text=f"Their numbers, {MAX_PAGES} at the most. Take some that are typical, and a difficult one.",
    )
    first = forms.ChoiceField(label="Preset")
    second = forms.ChoiceField(label="Compared with")

    def __init__(self, *args: Any, batch: Batch, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.total = batch.total
        self.presets = {preset.key: preset for preset in presets_of(batch.owner)}
        now = next((preset for preset in self.presets.values() if preset.name == batch.preset), DEFAULT)
        other = next(preset for preset in BUILT_IN if preset != now)
        for name, initial in (("first", now), ("second", other)):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = [(preset.key, preset.name) for preset in self.presets.values()]
            field.initial = initial.key
        self.fields["pages"].initial = ", ".join(map(str, sample_pages(batch.total)))

    def clean_pages(self) -> list[int]:
        parts = [part for part in re.split(r"[\s,;]+", self.cleaned_data["pages"]) if part]
        if not all(part.isascii() and part.isdigit() for part in parts):
            raise forms.ValidationError("Give page numbers with commas between them, as in 1, 12, 40.")
        numbers = sorted({int(part) for part in parts})
        if not numbers or len(numbers) > MAX_PAGES:
            raise forms.ValidationError(f"Choose 1 to {MAX_PAGES} pages.")
        if beyond := [number for number in numbers if not 1 <= number <= self.total]:
            told = ", ".join(map(str, beyond))
            raise forms.ValidationError(f"There is no page {told}: the batch has pages 1 to {self.total}.")
        return numbers

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("first") and data.get("first") == data.get("second"):
            raise forms.ValidationError("Choose two presets that differ.")
        return data

    def chosen(self) -> list[NamedOptions]:
        """The two presets."""
        return [self.presets[self.cleaned_data[name]] for name in ("first", "second")]


def sample_pages(total: int) -> list[int]:
    """The first page, one in the middle, and the last."""
    return sorted({1, (total + 1) // 2, total}) if total else []
