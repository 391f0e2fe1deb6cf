"""Wake tokens: messages that say that there is work, not which."""

import logging

import redis
from celery import current_app
from django.conf import settings
from django.db import transaction

logger = logging.getLogger(__name__)


def wake() -> None:
    """Put a wake token, unless one waits already. Trouble with the broker is logged: the sweep comes by."""
    try:
        # Asked by a client of its own, which answers at once if Redis is away: a user may be waiting.
        with redis.Redis.from_url(settings.REDIS_URL, **settings.REDIS_ANSWERS_AT_ONCE) as client:
            if not client.llen("work"):
                current_app.send_task("batches.tasks.work")
    except Exception as error:  # kombu lets many of the client's own errors through
        logger.warning("No wake token could be put, the sweep will: %s", error)


def wake_on_commit() -> None:
    """The same once the surrounding transaction has been committed: nobody wakes for what is not there."""
    transaction.on_commit(wake)
