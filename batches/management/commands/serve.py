"""`manage.py serve`: everything the product needs, under one process. This is `make run`."""

import hashlib
import os
import secrets
import signal
import socket
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.finders import get_finders
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand, CommandParser

from batches import health
from batches.errors import EngineMissing
from ocrsite.processes import CannotStart, PrivateRedis, Program, procfile

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Command(BaseCommand):
    help = "Serve the web pages and read batches: private Redis, web server, worker and scheduler in one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", default=int(os.environ.get("PORT", "8000")), type=int)

    def handle(self, *, host: str, port: int, **options: Any) -> None:
        self.stops = 0
        try:
            self.stdout.write(health.engine_state())
            self._check_port(host, port)
            self._set_up()
            for number in STOPPING:
                signal.signal(number, self._stop)
            self._run(host, port)
        except (EngineMissing, CannotStart) as error:
            raise CommandError(str(error)) from error

    def _check_port(self, host: str, port: int) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise CommandError(
                    f"Port {port} of {host} is taken, perhaps by another make run. "
                    f"Stop that one, or choose another: PORT={port + 1} make run"
                ) from error

    def _set_up(self) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        if not settings.DEBUG:
            _collect_static()
        if not User.objects.filter(is_superuser=True).exists():
            password = secrets.token_urlsafe(12)
            User.objects.create_superuser("admin", password=password)
            self.stdout.write(
                self.style.SUCCESS(f"\n  First administrator: admin\n  Password: {password}\n")
                + "  This is shown once. Change it in the admin after signing in.\n"
            )

    # -------------------------------------------------------------- running

    def _run(self, host: str, port: int) -> None:
        node = f"worker-{os.getpid()}@{socket.gethostname()}"
        programs = procfile(HOST=host, PORT=str(port), NODE=node)
        redis = [PrivateRedis()] if settings.REDIS_IS_PRIVATE else []
        told = False
        try:
            while not self.stops:
                for program in [*redis, *programs.values()]:
                    program.ensure()
                if not told and _listens(host, port):
                    told = True
                    self.stdout.write(
                        self.style.SUCCESS(
                            f"Serving http://{host}:{port}  (Ctrl-C stops; logs in {settings.LOG_DIR})"
                        )
                    )
                time.sleep(0.1 if not told else 0.5)
        finally:
            self._shut_down([*programs.values()], [*redis])

    def _stop(self, *args: Any) -> None:
        self.stops += 1

    def _shut_down(self, programs: list[Program], redis: list[PrivateRedis]) -> None:
        """Let the pages in hand end; a second signal does not wait for them. Redis goes last."""
        for program in programs:
            program.send(signal.SIGTERM)
        self.stdout.write("Finishing the pages in hand. Ctrl-C again stops at once.")
        deadline = time.monotonic() + settings.HARD_LIMIT
        while self.stops < 2 and time.monotonic() < deadline and any(program.alive for program in programs):
            time.sleep(0.05)
        for program in [*programs, *redis]:
            program.stop(grace=0 if program in programs else 10)


def _collect_static() -> None:
    """Collect the static files if they have changed since: it takes a second or two, each start long."""
    listed = (finder.list(ignore_patterns=[]) for finder in get_finders())
    files = sorted(Path(storage.path(name)) for found in listed for name, storage in found)
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    fingerprint = hashlib.sha256(repr(stats).encode()).hexdigest()
    marker = settings.STATIC_ROOT / "collected"
    if not marker.exists() or marker.read_text() != fingerprint:
        call_command("collectstatic", interactive=False, verbosity=0)
        marker.write_text(fingerprint)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
