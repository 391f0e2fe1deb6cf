"""The forms for a new batch, and for reading pages again."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Q
from django.template.defaultfilters import filesizeformat
from natsort import natsorted, ns

from batches.errors import OcrError, TooManyFiles, Unfinished, by_code
from batches.limits import check_room
from batches.models import Upload
from batches.ocr import Options, PdfText, Segmentation

# What people call the models that come with Debian's packages; of others the code is shown.
LANGUAGE_NAMES = {"eng": "English", "deu": "German", "fra": "French"}


# Ways of reading a page, for people.
SEGMENTATIONS = [
    (Segmentation.AUTO, "Automatic"),
    (Segmentation.BLOCK, "One block of text, as on a card"),
    (Segmentation.SPARSE, "Scattered words, as on a form"),
]
ROTATION_NAMES = {
    0: "As it is",
    90: "A quarter to the right",
    180: "Upside down",
    270: "A quarter to the left",
}


def language_choices(languages: Iterable[str]) -> list[tuple[str, str]]:
    """Each installed language with its name."""
    return [(code, LANGUAGE_NAMES.get(code, code)) for code in languages]


# What the browser's dialog offers first; what a file is, its content tells.
ACCEPT = "image/*,application/pdf,application/zip,.tif,.tiff,.jp2,.pbm,.pgm,.ppm,.pnm,.heic,.avif,.pdf,.zip"


class ManyFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class ManyFilesField(forms.FileField):
    """Several files from one input, each checked like a single one."""

    widget = ManyFilesInput(attrs={"accept": ACCEPT})

    def __init__(self, *, max_bytes: int, **kwargs: Any) -> None:
        self.max_bytes = max_bytes
        super().__init__(allow_empty_file=True, max_length=None, **kwargs)

    def clean(self, data: Any, initial: Any = None) -> "list[UploadedFile[Any]]":
        if not data and not self.required:
            return []
        files = [super(ManyFilesField, self).clean(one, initial) for one in (data or [None])]
        if large := [file.name for file in files if file.size > self.max_bytes]:
            raise forms.ValidationError(
                f"Larger than {filesizeformat(self.max_bytes)}: {', '.join(large)}. "
                "Split these files, or leave them out."
            )
        return files


class NewBatchForm(forms.Form):
    """Files, a name, languages, and what is done with PDF files that bring text.

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
    languages = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple, help_text="All that occur on the pages; each one costs time."
    )

    pdf_text = forms.ChoiceField(
        label="PDF files with text",
        widget=forms.RadioSelect,
        choices=[
            (PdfText.KEEP.value, "Keep the text that a page brings with it, where it is good"),
            (PdfText.READ.value, "Read every page anew"),
        ],
        initial=PdfText.KEEP.value,
        required=False,
        help_text="Decided page by page. Text that a scanner's program has added is always read anew.",
    )

    def __init__(
        self,
        *args: Any,
        owner: User,
        languages: Iterable[str],
        max_bytes: int,
        draft: Sequence[Upload] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.owner, self.draft = owner, draft
        choices = language_choices(languages)
        field = self.fields["languages"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = choices
        field.initial = [code for code, _ in choices if code == "eng"] or [code for code, _ in choices[:1]]
        self.fields["files"] = ManyFilesField(max_bytes=max_bytes, required=not draft)

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

    def options(self) -> Options:
        """How the batch is to be read, as chosen."""
        return Options(
            languages=tuple(self.cleaned_data["languages"]),
            pdf_text=PdfText(self.cleaned_data["pdf_text"] or PdfText.KEEP),
        )


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
    languages = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, required=False)
    segmentation = forms.ChoiceField(choices=[("", "As for the batch"), *SEGMENTATIONS], required=False)
    rotation = forms.TypedChoiceField(
        choices=[("", "As for the batch"), *ROTATION_NAMES.items()],
        coerce=int,
        required=False,
        empty_value=None,
    )

    def __init__(self, *args: Any, languages: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["languages"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = language_choices(languages)

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
        chosen = {name: self.cleaned_data[name] for name in ("languages", "segmentation", "rotation")}
        changes = {name: value for name, value in chosen.items() if value not in ("", None, [])}
        return Options.parse(before.as_json() | changes) if changes else None
