"""Is everything there that is needed to serve and to read? Each check answers what is wrong, or nothing."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
from celery import current_app
from django.conf import settings
from django.db import connection
from kombu.exceptions import OperationalError as BrokerError

from batches import ocr

ANSWER_WITHIN = 2.0  # seconds for a worker


def engine_state() -> str:
    """The engine as it is shown to an operator. Raises EngineMissing."""
    engine = ocr.probe(settings.OCR_ENGINE)
    return f"{engine.name}: {', '.join(engine.languages)}"


def database_state() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return connection.vendor


def redis_state() -> str:
    with redis.Redis.from_url(settings.REDIS_URL, **settings.REDIS_ANSWERS_AT_ONCE) as client:
        return f"Redis {client.info('server')['redis_version']}"


def worker_answers() -> list[str]:
    """The name of the first worker that answers, or nothing; nothing too where the broker is away."""
    try:
        answers = current_app.control.ping(timeout=ANSWER_WITHIN, limit=1) or []
    except BrokerError:
        return []
    return [name for answer in answers for name in answer]


def worker_state() -> str:
    if not (names := worker_answers()):
        raise RuntimeError("no worker answers: start one (make run)")
    return ", ".join(names)


CHECKS: dict[str, Callable[[], str]] = {
    "database": database_state,
    "redis": redis_state,
    "worker": worker_state,
    "tesseract": engine_state,
}


LOOK_EVERY = 5.0  # seconds


@dataclass(frozen=True)
class State:
    """One part: whether it is there, and what it says of itself or what is wrong with it."""

    there: bool
    detail: str

    @property
    def word(self) -> str:
        """What anybody may know."""
        return "ok" if self.there else "missing"


_asking = threading.Lock()
_last: dict[str, tuple[float, dict[str, State]]] = {}


def readiness() -> dict[str, State]:
    """The state of each part that reading needs, as of some seconds ago at the most.

    However many ask: each look starts processes and wakes the workers.
    """
    with _asking:
        looked, states = _last.get("readiness", (0.0, {}))
        if not states or time.monotonic() - looked > LOOK_EVERY:
            states = {name: _state(check) for name, check in CHECKS.items()}
            _last["readiness"] = (time.monotonic(), states)
        return states


def forget() -> None:
    """Look again when next asked."""
    _last.clear()


def _state(check: Callable[[], str]) -> State:
    try:
        return State(True, check())
    except Exception as error:  # whatever it is, the answer names the part
        return State(False, f"missing: {error}")
