"""A PostgreSQL of the tests' own, on a free port in a temporary folder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """One cluster. `start` and `restart` return when it takes connections."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgres://ocr@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        self.folder.mkdir(parents=True)
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self.folder, "postgres", "postgres")
            self.folder.parent.chmod(0o711)  # our own temporary folder: to be passed through
        options = ["-D", str(self.folder / "data"), "-U", "ocr", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*self._as_postgres(), _program("initdb"), *options], check=True, capture_output=True)

    def start(self) -> None:
        options = ["-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1"]
        options += ["-k", str(self.folder), "-c", "fsync=off", "-c", "max_connections=200"]
        with (self.folder / "log").open("ab") as log:
            # The death signal: not even a killed test run leaves a server behind. QUIT ends it at once.
            command = [*self._as_postgres(), "setpriv", "--pdeathsig", "QUIT", _program("postgres")]
            self.process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while subprocess.run(
            [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        ).returncode:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Throw everybody out, and end."""
        if self.process:
            self.process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            self.process.wait(30)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _as_postgres(self) -> list[str]:
        """The words that make a command PostgreSQL's user's, where we are root."""
        as_user = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        return ["setpriv", *as_user] if os.getuid() == 0 else []


def _program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else name
