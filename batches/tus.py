"""Uploads that can be gone on with: tus 1.0.0 (https://tus.io/protocols/resumable-upload).

Core, and the extensions creation, creation-with-upload, expiration and termination. Each draft (a batch to be) has
a UUID, the `submission` in the metadata; `fingerprint` there tells the same file when it comes again.
"""

import base64
import binascii
import re
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import http_date
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from batches import drafts
from batches.errors import (
    BatchTooLarge,
    HandedOver,
    NoSpace,
    OcrError,
    TooLarge,
    TooManyBatches,
    TooManyFiles,
)
from batches.models import Upload

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination"
PIECE_TYPE = "application/offset+octet-stream"
STATUS: dict[type[Exception], int] = {
    TooLarge: 413,
    BatchTooLarge: 413,
    TooManyFiles: 413,
    TooManyBatches: 429,
    HandedOver: 410,
    NoSpace: 507,
}
View = Callable[..., HttpResponse]


class BadRequest(Exception):
    """The request is not what the protocol says; the message says what is wrong."""


def _answer(status: int, text: str = "", **headers: Any) -> HttpResponse:
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8", headers=named)


def _by_the_protocol(view: View) -> View:
    """Who is asked, in which version; and each failure by its status, with a sentence for people."""

    @never_cache
    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            answer = _answer(
                401, "You are not signed in, or no longer. Sign in again, then reload this page."
            )
        elif request.method not in ("OPTIONS", "GET") and request.headers.get("Tus-Resumable") != VERSION:
            answer = _answer(412, "This server speaks tus 1.0.0.", Tus_Version=VERSION)
        else:
            answer = _guarded(view, request, *args, **kwargs)
        answer["Tus-Resumable"] = VERSION
        return answer

    return answered


def _guarded(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    try:
        return view(request, *args, **kwargs)
    except BadRequest as error:
        return _answer(400, str(error))
    except drafts.WrongOffset:
        return _answer(409, "The file does not go on there: ask for its offset.")
    except drafts.InHand:
        return _answer(423, "Another piece of this file is being written. Try again in a moment.")
    except drafts.TooLong:
        return _answer(413, "There is more of the file than was announced. Add it again.")
    except Upload.DoesNotExist:
        return _answer(404, "This upload is gone.")
    except OcrError as error:
        return _answer(STATUS.get(type(error), 400), str(error))


@require_http_methods(["OPTIONS", "GET", "POST"])
@_by_the_protocol
def uploads(request: HttpRequest) -> HttpResponse:
    """What the server can; what has arrived of a draft (`?submission=<uuid>`, as JSON); or a new file."""
    assert isinstance(request.user, User)
    if request.method == "OPTIONS":
        most = settings.MAX_FILE_BYTES
        return _answer(204, Tus_Version=VERSION, Tus_Extension=EXTENSIONS, Tus_Max_Size=most)
    if request.method == "GET":
        draft = Upload.objects.of_draft(request.user, _uuid(request.GET.get("submission", "")))
        return JsonResponse({"files": [_state(upload) for upload in draft]})
    return _create(request, request.user)


@require_http_methods(["OPTIONS", "HEAD", "PATCH", "DELETE"])
@_by_the_protocol
def upload(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Where a file stands; a further piece of it; or its end."""
    if request.method == "OPTIONS":
        return _answer(204, Tus_Version=VERSION, Tus_Extension=EXTENSIONS)
    found = get_object_or_404(Upload, pk=pk, owner=request.user)
    if request.method == "DELETE":
        found.remove()
        return _answer(204)
    if request.method == "PATCH":
        if request.content_type != PIECE_TYPE:
            return _answer(415, f"A piece of a file is sent as {PIECE_TYPE}.")
        drafts.append(found, _number(request, "Upload-Offset"), request)
        return _told(204, found)
    return _told(200, found, Upload_Length=found.size)


def _create(request: HttpRequest, owner: User) -> HttpResponse:
    """A new file, with its first piece or without; where it is known already, that one as it stands."""
    size = _number(request, "Upload-Length")
    data = _metadata(request.headers.get("Upload-Metadata", ""))
    submission = _uuid(data.get("submission", ""))
    fingerprint = data.get("fingerprint", "")
    if not re.fullmatch(r"[\w.-]{1,100}", fingerprint, re.ASCII):
        raise BadRequest("Upload-Metadata needs a fingerprint of 1 to 100 letters and digits.")
    begun = drafts.begin(owner, submission, data.get("filename", ""), size, fingerprint)
    if begun.arrived == 0 and not begun.sha256 and (request.content_type == PIECE_TYPE or size == 0):
        drafts.append(begun, 0, request)
    return _told(201, begun, Location=reverse("batches:upload", args=[begun.pk]))


def _told(status: int, upload: Upload, **headers: Any) -> HttpResponse:
    """Where the file stands, until when it is kept, and why it will be refused, if so (percent-encoded)."""
    answer = _answer(status, Upload_Offset=upload.arrived, **headers)
    answer["Upload-Expires"] = http_date(upload.expires.timestamp())
    if upload.error_code:
        answer["Upload-Refused"] = quote(upload.error_message)
    return answer


def _state(upload: Upload) -> dict[str, Any]:
    return {
        "url": reverse("batches:upload", args=[upload.pk]),
        "fingerprint": upload.fingerprint,
        "name": upload.name,
        "size": upload.size,
        "offset": upload.arrived,
        "refused": upload.error_message,
    }


def _number(request: HttpRequest, header: str) -> int:
    value = request.headers.get(header, "")
    if not (value.isascii() and value.isdigit() and len(value) < 16):
        raise BadRequest(f"{header} is to be a number of bytes.")
    return int(value)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise BadRequest("Which draft? Give its submission, a UUID.") from error


def _metadata(header: str) -> dict[str, str]:
    """Pairs of a key and a value in base64, as tus has them. What is no UTF-8 in a name is shown as �."""
    pairs = (pair.split() for pair in header.split(","))
    try:
        return {
            key: base64.b64decode(value[0] if value else "", validate=True).decode(errors="replace")
            for key, *value in (pair for pair in pairs if pair)
        }
    except binascii.Error as error:
        raise BadRequest("Upload-Metadata is not base64.") from error
