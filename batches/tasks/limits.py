"""The limits under which files are opened, as they are configured."""

from django.conf import settings

from batches.documents import Limits


def limits() -> Limits:
    """What the settings allow."""
    return Limits(
        max_pages=settings.MAX_PAGES_PER_BATCH,
        max_pixels=settings.MAX_PAGE_PIXELS,
        max_file_bytes=settings.MAX_FILE_BYTES,
        seconds=settings.OPEN_TIMEOUT,
        memory=settings.OPEN_MEMORY,
        zip_entries=settings.MAX_ZIP_ENTRIES,
        zip_bytes=settings.MAX_ZIP_BYTES,
        zip_ratio=settings.MAX_ZIP_RATIO,
    )
