"""An image of a page as browsers are given it: the one that we wrote, never the uploaded bytes."""

from pathlib import Path

from django.http import Http404, HttpResponse


def picture(path: Path) -> HttpResponse:
    """The JPEG at `path`. Raises Http404 where there is none yet."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise Http404("There is no image of this page yet.") from error
    response = HttpResponse(content, content_type="image/jpeg")
    response["Cache-Control"] = "private, no-cache"  # read again, it may lie otherwise
    # Nothing else: a browser styles its picture viewer inline.
    response["Content-Security-Policy"] = "sandbox"
    return response
