"""The form for a new batch."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from natsort import natsorted, ns

from batches.ocr import Options, PdfText

# What people call the models that come with Debian's packages; of others the code is shown.
LANGUAGE_NAMES = {"eng": "English", "deu": "German", "fra": "French"}


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
        files = [super(ManyFilesField, self).clean(one, initial) for one in (data or [None])]
        if large := [file.name for file in files if file.size > self.max_bytes]:
            raise forms.ValidationError(
                f"Larger than {filesizeformat(self.max_bytes)}: {', '.join(large)}. "
                "Split these files, or leave them out."
            )
        return natsorted(files, key=lambda file: file.name, alg=ns.IGNORECASE)  # card-2 before card-10


class NewBatchForm(forms.Form):
    """Files, a name, languages, and what is done with PDF files that bring text."""

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

    def __init__(self, *args: Any, languages: Iterable[str], max_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(code, LANGUAGE_NAMES.get(code, code)) for code in languages]
        field = self.fields["languages"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = choices
        field.initial = [code for code, _ in choices if code == "eng"] or [code for code, _ in choices[:1]]
        self.fields["files"] = ManyFilesField(max_bytes=max_bytes)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not data.get("name") and data.get("files"):
            data["name"] = data["files"][0].name[:200]
        return data

    def options(self) -> Options:
        """How the batch is to be read, as chosen."""
        return Options(
            languages=tuple(self.cleaned_data["languages"]),
            pdf_text=PdfText(self.cleaned_data["pdf_text"] or PdfText.KEEP),
        )
