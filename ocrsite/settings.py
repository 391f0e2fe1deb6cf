"""Settings, all from the environment or a `.env` file beside `manage.py`; `.env.example` names each.

Nothing is unsafe by default: without DEBUG a secret key is required, hosts are named, cookies are secure.
"""

import hashlib
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
from environs import Env, validate
from kombu import Queue
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from ocrsite import memory

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env()
env.read_env(str(BASE_DIR / ".env"), recurse=False)
for name in [name for name, value in os.environ.items() if not value]:
    del os.environ[name]  # an empty line in .env means the default

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "only-for-debugging" if DEBUG else None)
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", LOCAL_HOSTS)
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])

# Everything the product keeps: scans, results, the SQLite database, the private Redis.
DATA_DIR = Path(env.str("DATA_DIR", "") or BASE_DIR / "data").resolve()
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
TMP_DIR, LOG_DIR = DATA_DIR / "tmp", DATA_DIR / "log"
for folder in (TMP_DIR, LOG_DIR):
    folder.mkdir(exist_ok=True)  # here, because Django checks them before any command of ours runs

# ---------------------------------------------------------------- limits
MAX_FILE_BYTES = env.int("MAX_FILE_BYTES", 2 * 1024**3)
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", 128 * 1024**2)  # of one request: Daphne has it in memory once
UPLOAD_PIECE_BYTES = min(8 * 1024**2, MAX_BODY_BYTES)  # a browser sends files in pieces: one request each
MAX_BATCH_BYTES = env.int("MAX_BATCH_BYTES", 100 * 1024**3)
KEEP_FREE_BYTES = env.int("KEEP_FREE_BYTES", 1024**3)  # of the disk, for the database and what is read
MAX_BATCHES_PER_USER = env.int("MAX_BATCHES_PER_USER", 100)  # that have not ended
MAX_FILES_PER_UPLOAD = env.int("MAX_FILES_PER_UPLOAD", 2000)
UPLOADS_PER_HOUR = env.int("UPLOADS_PER_HOUR", 200)  # of one user
MAX_PAGES_PER_BATCH = env.int("MAX_PAGES_PER_BATCH", 100_000)
MAX_PAGE_PIXELS = env.int("MAX_PAGE_PIXELS", 120_000_000)
MAX_SOCKETS_PER_USER = env.int("MAX_SOCKETS_PER_USER", 100)  # in one web process; beyond it pages poll
MAX_ZIP_ENTRIES = env.int("MAX_ZIP_ENTRIES", 20_000)
MAX_ZIP_BYTES = env.int("MAX_ZIP_BYTES", 20 * 1024**3)  # unpacked
MAX_ZIP_RATIO = env.int("MAX_ZIP_RATIO", 200)  # unpacked bytes a packed one
OPEN_TIMEOUT = env.int("OPEN_TIMEOUT", 18)  # seconds to look at a file, or to decode or draw a page
OPEN_MEMORY = env.int("OPEN_MEMORY", 2048 * 1024**2)  # bytes, for the same
RECOGNISED_BYTES = env.int("RECOGNISED_BYTES", 2 * 1024**3)  # of earlier results, kept for the same pages

# ---------------------------------------------------------------- reading
PAGE_TIMEOUT = env.int("PAGE_TIMEOUT", 120)  # seconds for one recognition
# What reads: the system's Tesseract, or the newer one that tesserocr brings and that stays in memory.
OCR_ENGINE = env.str("OCR_ENGINE", "pytesseract", validate=validate.OneOf(["pytesseract", "tesserocr"]))
# One more than there are cores: a slot that opens, writes or saves leaves a core to another's recognition.
WORKER_SLOTS = env.int("WORKER_SLOTS", memory.slots((os.cpu_count() or 1) + 1, memory.available()))
# page timeout < soft limit < hard limit < visibility timeout: each guard fires only where the one before
# it did not. A page is opened again, and recognised again, where the first reading gave little: other ways may
# take as long as half the page timeout, their last one as much again, and one more run (see ocr.recognition).
# A message is good for pages that are begun within some seconds.
WORK_SECONDS = 5
SOFT_LIMIT = WORK_SECONDS + 6 * OPEN_TIMEOUT + 3 * PAGE_TIMEOUT + 60
HARD_LIMIT = SOFT_LIMIT + 15
LEASE_SECONDS = env.int("LEASE_SECONDS", 45)  # renewed every few seconds while a page is in hand
SWEEP_SECONDS = env.int("SWEEP_SECONDS", 20)

# ---------------------------------------------------------------- Django
INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "axes",
    "batches",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "ocrsite.urls"
ASGI_APPLICATION = "ocrsite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = env.str("TIME_ZONE", "UTC")
USE_TZ = True

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# Who guesses passwords is made to wait: counted in the database, so by all processes, and without Redis too.
# By name and address together: neither can a stranger lock somebody out, nor one person a whole office.
AXES_VERBOSE = False  # its greeting at every start
AXES_FAILURE_LIMIT = env.int("SIGN_IN_ATTEMPTS", 10)
AXES_COOLOFF_TIME = timedelta(minutes=env.int("SIGN_IN_PAUSE_MINUTES", 15))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = AXES_DISABLE_ACCESS_LOG = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = AXES_ENABLE_ADMIN = False
AXES_CLIENT_IP_CALLABLE = "ocrsite.visitors.address_of"
AXES_LOCKOUT_CALLABLE = "ocrsite.visitors.locked_out"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "batches:list"
LOGOUT_REDIRECT_URL = "login"

# Plain http is right for one machine and its own browser (`make run` says HTTPS=false), else not.
HTTPS = env.bool("HTTPS", not DEBUG)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
BEHIND_PROXY = env.bool("BEHIND_PROXY", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
PERMISSIONS_POLICY: dict[str, list[str]] = {
    name: []
    for name in ("camera", "display-capture", "geolocation", "microphone", "payment", "serial", "usb")
}
# Nothing inline, nothing from elsewhere. 'self' covers the sockets too.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "img-src": ["'self'", "data:"],  # Pico's ticks and arrows are pictures within its style sheet
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "ocrsite.static.StaticFiles"
    },
}
FILE_UPLOAD_TEMP_DIR = str(TMP_DIR)
DATA_UPLOAD_MAX_NUMBER_FILES = MAX_FILES_PER_UPLOAD

# ---------------------------------------------------------------- database
DATABASES: dict[str, Any] = {"default": env.dj_db_url("DATABASE_URL", f"sqlite:///{DATA_DIR / 'db.sqlite3'}")}
DATABASE = DATABASES["default"]
if DATABASE["ENGINE"] == "django.db.backends.sqlite3":
    # Deferred transactions of several writers fail with «locked»; IMMEDIATE ones wait their turn.
    DATABASE["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    DATABASE["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
else:
    # Kept connections would pile up, one a thread of the web server; a new one costs a few milliseconds.
    DATABASE["CONN_MAX_AGE"] = 0

# ---------------------------------------------------------------- Redis: Celery's broker, channel layer, cache


def private_redis_socket() -> Path:
    """Where the private Redis listens: in DATA_DIR, unless that path is too long for a unix socket."""
    socket = DATA_DIR / "redis" / "redis.sock"
    if len(os.fsencode(socket)) <= 100:  # sun_path holds 108 bytes
        return socket
    digest = hashlib.sha256(os.fsencode(DATA_DIR)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"ocr-{os.getuid()}-{digest}" / "redis.sock"


REDIS_IS_PRIVATE = not env.str("REDIS_URL", "")
REDIS_URL = env.str("REDIS_URL", "") or f"unix://{private_redis_socket()}"

# For a mere look whether it is there: redis-py would try again and again, for seconds.
REDIS_ANSWERS_AT_ONCE: dict[str, Any] = {
    "socket_connect_timeout": 2,
    "socket_timeout": 2,
    "retry": Retry(NoBackoff(), 0),
}

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "ocr",
        "OPTIONS": REDIS_ANSWERS_AT_ONCE,
    }
}

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": HARD_LIMIT + 60,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 2, "interval_start": 0, "interval_step": 0.1}
CELERY_TASK_QUEUES = [Queue("work"), Queue("sweep")]
CELERY_TASK_DEFAULT_QUEUE = "work"
CELERY_TASK_ROUTES = {"batches.tasks.sweep": {"queue": "sweep"}}
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SOFT_TIME_LIMIT = SOFT_LIMIT
CELERY_TASK_TIME_LIMIT = HARD_LIMIT
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 200
CELERY_WORKER_CONCURRENCY = WORKER_SLOTS
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = {"sweep": {"task": "batches.tasks.sweep", "schedule": SWEEP_SECONDS}}
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")

# Pub/sub, not the core layer: nothing is dropped in a burst, and sockets survive a Redis restart.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": REDIS_URL,
                    "socket_timeout": None,
                    "socket_connect_timeout": 2,
                    "retry": AsyncRetry(NoBackoff(), 1),  # a broadcast must not hold up a worker
                    "max_connections": 10_000,
                }
            ]
        },
    }
}

# ---------------------------------------------------------------- logging
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", "INFO")},
}
