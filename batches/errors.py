"""What can go wrong with a file, a page or a batch.

Each error has a `code` from one closed list, a title to group by, a message for the user that says what to
do, and whether reading the same thing again may succeed (`retryable`). docs/failures.md lists them.
"""

import errno
from typing import ClassVar


class OcrError(Exception):
    """The root of every failure that the product tells a user. `str(error)` is the user's message."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something unexpected"
    retryable: ClassVar[bool] = True
    message: ClassVar[str] = (
        "Something unexpected went wrong while reading. Retry; if it happens again, tell your administrator."
    )

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.message)


# ------------------------------------------------------------------ the file


class FileError(OcrError):
    """The file as it is cannot be read; another copy of it may be."""

    retryable = False


class UnsupportedType(FileError):
    code = "unsupported_type"
    title = "Not a type that is read"
    message = (
        "This is no kind of file that is read here (PDF, ZIP, and images as PNG, JPEG, TIFF, BMP, GIF, WebP, "
        "JPEG 2000, PNM, HEIC, AVIF). Convert it to one of these and upload it again."
    )


class CorruptFile(FileError):
    code = "corrupt_file"
    title = "Damaged file"
    message = "The file is damaged or incomplete. Scan or export it again and upload the new copy."


class Encrypted(FileError):
    code = "encrypted"
    title = "Protected by a password"
    message = "The PDF is protected by a password. Save a copy without the password and upload that."


class TooLarge(FileError):
    code = "too_large"
    title = "Too large"
    message = "The page is larger than this server reads. Scan it at a lower resolution."


class SourceMissing(FileError):
    code = "source_missing"
    title = "File no longer there"
    message = "The uploaded file is no longer on the server. Upload it again in a new batch."


# ------------------------------------------------------------------ the engine


class EngineError(OcrError):
    """Tesseract was started on a good image and gave no result."""


class EngineMissing(EngineError):
    code = "engine_missing"
    title = "Tesseract is missing"
    message = "Tesseract is not installed on this server. Ask your administrator to install it (make setup), then retry."


class EngineCrashed(EngineError):
    code = "engine_crashed"
    title = "Tesseract stopped"
    message = (
        "Tesseract stopped with an error on this page. Retry it; if it fails again, try a lower resolution."
    )


class EngineTimeout(EngineError):
    code = "timeout"
    title = "Took too long"
    message = "Reading this page took longer than the time limit and was stopped. Try a lower resolution."


class OutOfMemory(EngineError):
    code = "out_of_memory"
    title = "Took too much memory"
    message = "Reading this page took more memory than a page may have. Try a lower resolution."


class LanguageMissing(EngineError):
    code = "language_missing"
    title = "Language not installed"
    message = "A language of this batch is not installed on this server. Ask your administrator to add it, then retry."

    @classmethod
    def named(cls, missing: list[str], installed: list[str]) -> "LanguageMissing":
        """The same with the names: what is not there, and what is."""
        return cls(
            f"Not installed on this server: {', '.join(missing)}. Choose from {', '.join(installed)}, "
            "or ask your administrator to add the language and retry."
        )


# ------------------------------------------------------------------ the server


class NoSpace(OcrError):
    code = "no_space"
    title = "Disk full"
    message = "The server's disk is full. Ask your administrator to make room, then retry."


NO_SPACE = (errno.ENOSPC, errno.EDQUOT)  # what a system call says of a full disk


class WorkerLost(OcrError):
    code = "worker_lost"
    title = "Worker lost"
    message = "The worker stopped three times while reading this. Retry; if it happens again, leave it out and tell your administrator."


# ------------------------------------------------------------------ the batch


class NothingToRead(OcrError):
    code = "nothing_to_read"
    title = "Nothing to read"
    retryable = False
    message = (
        "None of the files could be read: see the reason beside each. Upload good copies in a new batch."
    )


class NothingRead(OcrError):
    code = "nothing_read"
    title = "Nothing was read"
    message = "Every page failed: see the reason beside each, mend it, and retry."


class TooManyPages(OcrError):
    code = "too_many_pages"
    title = "Too many pages"
    retryable = False
    message = "The batch has more pages than this server takes at once. Split it into several batches."


class BatchTooLarge(OcrError):
    code = "batch_too_large"
    title = "Batch too large"
    retryable = False
    message = (
        "The files are larger together than this server takes in one batch. Split them into several batches."
    )


class TooManyBatches(OcrError):
    code = "too_many_batches"
    title = "Too many batches"
    message = (
        "You have as many unfinished batches as this server allows. Wait until one has ended, or cancel one."
    )


class TooManyFiles(OcrError):
    code = "too_many_files"
    title = "Too many files"
    retryable = False
    message = "These are more files than this server takes at once. Split them into several batches."


class Unfinished(OcrError):
    code = "unfinished"
    title = "Files have not arrived"
    message = "Some files have not arrived whole. Wait until they have, or remove them from the list."


class HandedOver(OcrError):
    code = "handed_over"
    title = "Started already"
    retryable = False
    message = "This batch has been started already, and takes no more files. Make another one for them."


class BadOptions(OcrError):
    code = "bad_options"
    title = "Options not valid"
    retryable = False
    message = "The options of this batch are not valid. Create it again."


class BadPreset(OcrError):
    code = "bad_preset"
    title = "Preset not saved"
    retryable = False
    message = "The preset cannot be saved like this. Give it another name."


def by_code(root: type[OcrError] = OcrError) -> dict[str, type[OcrError]]:
    """The closed list: every error that has a code, by it."""
    own = {root.code: root} if "code" in vars(root) else {}
    return own | {code: error for child in root.__subclasses__() for code, error in by_code(child).items()}


def retryable_codes() -> list[str]:
    """The codes of failures that may have passed when the same thing is read again."""
    return [code for code, error in by_code().items() if error.retryable]
