"""Several files from one input."""

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

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
