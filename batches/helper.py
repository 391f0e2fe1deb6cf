"""A helper: a process of its own under one thread, asked again and again. Knows no Django.

It has a clean environment, and ends with the thread that started it (`confined.die_with`, on its side).
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

PROJECT = Path(__file__).parents[1]


class Helper:
    """One helper process: this Python with `arguments`, then a socket's number and our process id.

    Not for several threads at once.
    """

    def __init__(
        self, arguments: Sequence[str], environment: dict[str, str], stderr: IO[bytes] | None = None
    ) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, *arguments, str(theirs.fileno()), str(os.getpid())]
        env = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(PROJECT), "LC_ALL": "C.UTF-8"}
        with theirs:
            self.process = subprocess.Popen(
                command,
                env=env | environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C in a terminal is for the worker, which finishes its page
            )
        self.connection = Connection(ours.detach())

    def ask(self, request: Mapping[str, Any], seconds: float) -> Any:
        """The answer to the request. Raises TimeoutError, or EOFError or another OSError if it is gone."""
        self.send(request)
        return json.loads(self.receive(seconds))

    def send(self, request: Mapping[str, Any]) -> None:
        """The same in two steps, for those who may be asked something in between."""
        self.connection.send_bytes(json.dumps(request).encode())

    def receive(self, seconds: float) -> bytes:
        """The next message. Raises what `ask` raises."""
        if not self.connection.poll(seconds):
            raise TimeoutError
        return self.connection.recv_bytes()

    def close(self) -> None:
        """End it, and what it has in hand."""
        self.connection.close()
        self.process.kill()
        self.process.wait()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()


H = TypeVar("H", bound=Helper)


class Own(threading.local, Generic[H]):
    """Each thread's own helper, started when first needed, by the process that asks."""

    helper: H | None = None
    pid = 0

    def get(self, start: Callable[[], H]) -> H:
        """The helper; another one if it has ended, or is of the process that this one was forked from."""
        if self.helper is None or self.pid != os.getpid() or self.helper.process.poll() is not None:
            self.helper, self.pid = start(), os.getpid()
        return self.helper

    def end(self) -> None:
        """End this thread's helper, if it has one. The next request starts another."""
        if helper := self.helper:
            self.helper = None
            if self.pid == os.getpid():
                helper.close()
