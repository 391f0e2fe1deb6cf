"""The form for a new batch: files, and how they are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from natsort import natsorted, ns

from batches.errors import BadPreset, LanguageMissing, OcrError, TooManyFiles, Unfinished
from batches.forms.choices import languages_field, offer_languages, option_field
from batches.forms.files import ManyFilesField
from batches.forms.preset import preset_options
from batches.limits import check_room
from batches.models import Upload
from batches.names import shown
from batches.ocr import NamedOptions, Options
from batches.ocr.presets import CHOICES, DEFAULT
from batches.presets import MAX_NAME, check_name, presets_of

AS_PRESET = "As the preset has it"


@dataclass(frozen=True)
class PresetChoice:
    """A preset as the form offers it; `languages` are those that are ticked when it is chosen."""

    preset: NamedOptions
    chosen: bool
    languages: Sequence[str]


class NewBatchForm(forms.Form):
    """Files, a name, languages, and how pages are read: a preset, and what is to be otherwise.

    `submission` tells a form that is sent twice, and which `draft` is its own: files that were uploaded before
    it is sent. In `cleaned_data["files"]` they come with those of the form.
    """

    submission = forms.UUIDField(
        # Not to be filled in again by a browser that goes back: that is another batch.
        widget=forms.HiddenInput(attrs={"autocomplete": "off"}),
        initial=uuid4,
        required=False,
    )
    name = forms.CharField(
        max_length=200, required=False, help_text="Left empty, the first file's name is taken."
    )
    preset = forms.ChoiceField(label="How to read", required=False)
    languages = languages_field(help_text="All that occur on the pages; each one costs time.")
    as_ticked = forms.BooleanField(  # set by the page's script, which ticks a preset's languages itself
        widget=forms.HiddenInput, required=False
    )
    segmentation = option_field("segmentation", empty=AS_PRESET)
    preparation = option_field("preparation", empty=AS_PRESET)
    pdf_text = option_field("pdf_text", empty=AS_PRESET)
    save_as = forms.CharField(
        label="Save these choices as a preset",
        max_length=MAX_NAME,
        required=False,
        help_text="Under this name, languages included. Left empty, nothing is saved.",
    )

    hold = forms.BooleanField(required=False)  # the button: try on a few pages first

    def __init__(
        self,
        *args: Any,
        owner: User,
        languages: Sequence[str],
        max_bytes: int,
        draft: Sequence[Upload] = (),
        latest: str = "",
        **kwargs: Any,
    ) -> None:
        """`latest`: the name of the preset that the owner's batch before was read with."""
        super().__init__(*args, **kwargs)
        self.owner, self.draft, self.installed = owner, draft, languages
        self.presets = {preset.key: preset for preset in presets_of(owner)}
        first = next((preset for preset in self.presets.values() if preset.name == latest), DEFAULT)
        field = self.fields["preset"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(preset.key, preset.name) for preset in self.presets.values()]
        field.initial = first.key
        self.usual = ["eng"] if "eng" in languages else list(languages[:1])
        offer_languages(self, languages).initial = list(self._ticked(first))
        self.fields["files"] = ManyFilesField(max_bytes=max_bytes, required=not draft)

    def _ticked(self, preset: NamedOptions) -> tuple[str, ...]:
        """The installed languages that choosing the preset stands for, where nobody chooses others."""
        wanted = preset.with_languages([] if preset.languages else self.usual, self.installed)
        return tuple(language for language in wanted if language in self.installed)

    def reading(self) -> Iterator[PresetChoice]:
        """The presets, to be chosen from."""
        chosen = self["preset"].value()
        for preset in self.presets.values():
            yield PresetChoice(preset, preset.key == chosen, self._ticked(preset))

    def more_is_chosen(self) -> bool:
        """Whether something differs from the preset, or is wrong there: then it must be seen."""
        names = [*CHOICES, "save_as"]
        return any(self[name].value() or self[name].errors for name in names)

    def clean_preset(self) -> NamedOptions:
        return self.presets[self.cleaned_data["preset"] or DEFAULT.key]

    def clean_save_as(self) -> str:
        if not self.cleaned_data["save_as"].strip():
            return ""
        name = shown(self.cleaned_data["save_as"], MAX_NAME)
        try:
            check_name(self.owner, name)
        except BadPreset as error:
            raise forms.ValidationError(str(error), error.code) from error
        return name

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        files = [*self.draft, *data.get("files", [])]
        files = natsorted(
            files, key=lambda file: file.name, alg=ns.IGNORECASE | ns.PATH
        )  # card-2 before card-10
        if not data.get("name") and files:
            data["name"] = files[0].name
        try:
            check_room(self.owner, sum(file.size for file in files))
            self._check_files(files)
        except OcrError as error:
            raise forms.ValidationError(str(error), error.code) from error
        self._check_languages(data)
        return data | {"files": files}

    def _check_files(self, files: "list[Upload | UploadedFile[Any]]") -> None:
        if len(files) > settings.MAX_FILES_PER_UPLOAD:
            raise TooManyFiles
        missing = [upload.name for upload in self.draft if not (upload.is_whole or upload.error_code)]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise Unfinished(
                f"Not arrived whole yet: {', '.join(missing[:3])}{more}. "
                "Add these files again to go on where they stood, or remove them from the list."
            )

    def _check_languages(self, data: dict[str, Any]) -> None:
        """A preset may name a language that has been removed since."""
        if "preset" not in data or "languages" not in data:
            return
        if missing := [one for one in self._languages(data) if one not in self.installed]:
            self.add_error("languages", str(LanguageMissing.named(missing, list(self.installed))))

    def _languages(self, data: dict[str, Any]) -> tuple[str, ...]:
        preset: NamedOptions = data["preset"]
        chosen = tuple(data["languages"])
        if data["as_ticked"]:
            return chosen
        unchanged = preset.languages and set(chosen) == set(self.fields["languages"].initial)
        return preset.with_languages([] if unchanged else chosen, self.installed)

    def _settings(self) -> dict[str, Any]:
        otherwise = {option: self.cleaned_data[option] for option in CHOICES if self.cleaned_data[option]}
        return {**self.cleaned_data["preset"].settings, **otherwise}

    def options(self) -> Options:
        """How the batch is to be read, as chosen."""
        return Options.parse({**self._settings(), "languages": list(self._languages(self.cleaned_data))})

    def preset_name(self) -> str:
        """The preset that the options are those of; empty where something was chosen otherwise."""
        if name := self.cleaned_data["save_as"]:
            return str(name)
        preset: NamedOptions = self.cleaned_data["preset"]
        return preset.name if self._settings() == {**preset.settings} else ""

    def to_be_saved(self) -> dict[str, Any]:
        """What is chosen, as a preset keeps it."""
        return preset_options(self._settings(), self._languages(self.cleaned_data))
