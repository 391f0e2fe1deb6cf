"""The processes that the product consists of, as children that cannot outlive their parent.

Each child gets the kernel's parent-death signal, so that not even a kill -9 of the parent leaves one
behind. They are started by the main thread only: the signal is sent when the starting *thread* ends.
"""

import fcntl
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

LOG_BYTES = 10_000_000  # a log larger than this is put aside at the next start
REDIS_STARTS_WITHIN = 20.0  # seconds; a large append-only file takes some to load
RESTART_PAUSE = 2.0  # seconds before a program that died is started again


class CannotStart(Exception):
    """A program could not be started; the message says what to do."""


@dataclass
class Program:
    """A command line, the process that runs it, and the log that it writes.

    `death_signal` is what the kernel sends it when we die.
    """

    name: str
    argv: list[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    death_signal: str = "KILL"
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0

    def start(self) -> None:
        """Start it in a session of its own, so that the terminal's Ctrl-C reaches only the parent."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", self.death_signal, *self.argv],
                cwd=settings.BASE_DIR,
                env=_environment() | self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.started = time.monotonic()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ensure(self) -> None:
        """Start it unless it runs; one that died is told of, and gets a pause first."""
        if self.alive or time.monotonic() - self.started < RESTART_PAUSE:
            return
        if self.process is not None:
            logger.warning(
                "%s ended (status %s): started again, see %s", self.name, self.process.returncode, self.log
            )
        self.start()

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.alive:
            self.process.send_signal(number)

    def stop(self, grace: float) -> None:
        """Ask it to end; kill it after `grace` seconds."""
        if self.process is None:
            return
        self.send(signal.SIGTERM)
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class PrivateRedis(Program):
    """The Redis of this DATA_DIR: on a unix socket, its data kept in an append-only file.

    Several commands may share one: whoever finds none answering starts it.
    """

    def __init__(self) -> None:
        self.folder = settings.DATA_DIR / "redis"
        self.socket = Path(settings.REDIS_URL.removeprefix("unix://"))
        argv = [
            "redis-server", "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700",
            "--dir", str(self.folder), "--appendonly", "yes", "--save", "", "--daemonize", "no",
            "--loglevel", "warning",
        ]  # fmt: skip
        super().__init__("redis", argv, settings.LOG_DIR / "redis.log", death_signal="TERM")

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(settings.REDIS_URL, **settings.REDIS_ANSWERS_AT_ONCE) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def ensure(self) -> None:
        """Have a Redis answer on the socket. Raises CannotStart."""
        if self.alive:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.socket.parent.lstat().st_uid != os.getuid():  # in /tmp anybody could have made it
            raise CannotStart(
                f"{self.socket.parent} belongs to somebody else: remove it, or shorten DATA_DIR."
            )
        with _locked(self.folder / "lock"):
            if self.answers():
                return
            try:
                self.start()
            except FileNotFoundError as error:
                raise CannotStart("redis-server is not installed: run make setup.") from error
            self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + REDIS_STARTS_WITHIN
        while not self.answers():
            if not self.alive or time.monotonic() > deadline:
                raise CannotStart(f"The private Redis in {self.folder} did not start: see {self.log}.")
            time.sleep(0.02)


def procfile(**variables: str) -> dict[str, Program]:
    """The programs that the Procfile names, by name, with `$VARIABLES` filled in."""
    programs = {}
    for line in (settings.BASE_DIR / "Procfile").read_text().splitlines():
        name, command = line.split(":", 1)
        argv = [_fill(word, variables) for word in shlex.split(command)]
        programs[name] = Program(name, argv, settings.LOG_DIR / f"{name}.log")
    return programs


def _fill(word: str, variables: dict[str, str]) -> str:
    return variables[word[1:]] if word.startswith("$") else word


def _environment() -> dict[str, str]:
    """Ours, with the programs of this virtual environment found first."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock: one at a time. The kernel frees it with the process, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
