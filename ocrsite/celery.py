"""The Celery application: what a worker is, before it knows any task."""

import ctypes
import os
import signal
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ocrsite.settings")

PR_SET_PDEATHSIG = 1  # linux/prctl.h

app = Celery("ocrsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def die_with_the_worker(**kwargs: Any) -> None:
    """A pool process whose worker was killed would read on, unseen by anybody: let it end too."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
