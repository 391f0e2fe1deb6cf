"""What one user may hand over: how often, how much at once, and how many batches at a time."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponseBase
from django_ratelimit.core import get_usage

from batches.errors import BatchTooLarge, TooManyBatches
from batches.models import Batch
from ocrsite.visitors import too_many

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]


def check_room(owner: User, size: int = 0, drafts: int = 0) -> None:
    """Whether a new batch of `size` bytes may be handed over. Raises TooManyBatches or BatchTooLarge.

    `drafts`: batches to be, of which files are on their way, count with those that have not ended.
    """
    if size > settings.MAX_BATCH_BYTES:
        raise BatchTooLarge
    unfinished = owner.batches.exclude(status__in=Batch.ENDED).count() + drafts
    if unfinished >= settings.MAX_BATCHES_PER_USER:
        raise TooManyBatches


def uploads_limited(view: View) -> View:
    """A POST to this view counts as an upload; beyond UPLOADS_PER_HOUR it answers 429 and does nothing.

    Counted in Redis, for all processes together. While Redis is away nothing is counted and every upload
    taken: what a user can do then is still bounded by `check_room`.
    """

    @wraps(view)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        wait = _seconds_to_wait(request) if request.method == "POST" else 0
        return too_many(request, "upload", wait) if wait else view(request, *args, **kwargs)

    return limited


def _seconds_to_wait(request: HttpRequest) -> int:
    try:
        rate = f"{settings.UPLOADS_PER_HOUR}/h"
        usage = get_usage(request, group="uploads", key="user", rate=rate, increment=True)
    except redis.RedisError as error:
        logger.warning("Uploads are not counted: %s", error)
        return 0
    return max(usage["time_left"], 1) if usage and usage["should_limit"] else 0
