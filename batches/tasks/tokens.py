"""Wake tokens: messages that say that there is work, not which."""

import logging
from functools import cache

import redis
from celery import current_app
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)


def wake() -> bool:
    """Put a wake token, unless one waits already: then False.

    Trouble with the broker is logged and no error: the sweep comes by.
    """
    try:
        if _redis(settings.REDIS_URL).llen("work"):
            return False
        current_app.send_task("batches.tasks.work")
    except Exception as error:  # kombu lets many of the client's own errors through
        logger.warning("No wake token could be put, the sweep will: %s", error)
        return False
    return True


def wake_on_commit() -> None:
    """The same once the surrounding transaction has been committed: nobody wakes for what is not there."""
    transaction.on_commit(wake)


def drop_waiting_sweeps() -> None:
    """One sweep does for all that were put while no worker was there.

    Not by an expiry: that compares the clocks of two machines.
    """
    try:
        _redis(settings.REDIS_URL).delete("sweep")
    except redis.RedisError as error:
        logger.warning("Sweeps that wait could not be dropped: %s", error)


@cache
def _redis(url: str) -> redis.Redis:
    """A client that answers at once if Redis is away: a user may be waiting.

    It is kept, for it is asked with every page. A second try: the connection may be of before a restart.
    """
    return redis.Redis.from_url(url, **settings.REDIS_ANSWERS_AT_ONCE | {"retry": Retry(NoBackoff(), 1)})
