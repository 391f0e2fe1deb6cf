"""The cage from inside: a helper that forks for each request, and the process that opens the user's file.

Started by `cage` as `python -m batches.documents.caged FD`. The helper itself never looks into a file.
"""

import errno
import gc
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, NoReturn

from batches.confined import confine, die_with
from batches.documents import opening, question
from batches.documents.pages import Known, Limits, Stance
from batches.errors import NO_SPACE, OcrError

STOPPED, PID = "stopped", "pid"  # in the private folder: see `ocr.stop`, which ends whatever runs there
NO_MORE = b""
OPENCV_NO_MEMORY = -4  # cv2.Error.StsNoMem
FILE_BYTES = 1024**3  # of what may be written at the least
ANSWER_BYTES = 64 * 1024**2  # some hundred thousand words
# Failures of the machine, not of the file: told as they are.
MACHINE = {errno.EACCES, errno.EPERM, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE}
CRASHED = (
    "The program that opens such files stopped on this one: it is damaged, or built to do harm. "
    "Scan or export it again and upload the new copy."
)
TOOK_TOO_LONG = "Opening this took longer than the time limit and was stopped. Try a lower resolution."


def serve(requests: Connection, asker: int) -> None:
    """Answer requests until the process `asker` is gone."""
    die_with(asker)
    gc.freeze()  # the children share what is there: no writing to it
    with suppress(EOFError, ConnectionError):
        while True:
            request = json.loads(requests.recv_bytes())
            requests.send_bytes(answers_to(request, requests))


def answers_to(request: dict[str, Any], requests: Connection) -> bytes:
    """Fork, wait for the answers, end what is left. Raises EOFError if whoever asked is gone."""
    limits = Limits(**request["limits"])
    answers, answering = Pipe()
    helper = os.getpid()
    if not (pid := os.fork()):
        requests.close()
        answers.close()
        _child(request, limits, answering, helper)
    answering.close()
    try:
        may_ask = bool(request.get("asks"))
        return b"[%b]" % b",".join(_collect(pid, answers, requests, limits, may_ask=may_ask))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
        (Path(request["folder"]) / PID).unlink(missing_ok=True)
        answers.close()


def _collect(
    pid: int, answers: Connection, requests: Connection, limits: Limits, *, may_ask: bool
) -> Iterator[bytes]:
    """The answers that come. The last of them may tell how the process ended over what it had in hand."""
    deadline = time.monotonic() + limits.seconds
    while True:
        ready = wait([answers, requests], max(0.0, deadline - time.monotonic()))
        if requests in ready:  # no other request comes before this one is answered: it is the end
            raise EOFError
        if not ready:
            os.kill(pid, signal.SIGKILL)
            yield told("EngineTimeout", TOOK_TOO_LONG)
            return
        try:
            answer = answers.recv_bytes(ANSWER_BYTES)
        except (EOFError, OSError):
            yield _end_of(pid, limits)
            return
        if answer == NO_MORE:
            return
        if not answer.startswith(question.MARK):
            yield answer
            deadline = time.monotonic() + limits.seconds
        elif may_ask and len(answer) <= question.MOST_BYTES:
            may_ask = False
            deadline += _pass_on(answer, answers, requests)
        else:
            yield told("CorruptFile", CRASHED, "it asked what it may not")
            return


def _pass_on(asked: bytes, child: Connection, requests: Connection) -> float:
    """A question to whoever made the request, and the answer back; the seconds that took, which are not the file's.

    Raises EOFError or ConnectionError if they are gone.
    """
    started = time.monotonic()
    requests.send_bytes(asked)
    answer = requests.recv_bytes()
    with suppress(ConnectionError):  # it may have ended meanwhile, which its end tells
        child.send_bytes(answer)
    return time.monotonic() - started


def _end_of(pid: int, limits: Limits) -> bytes:
    """What it means that the process ended without an answer."""
    _, status, used = os.wait4(pid, 0)
    signal_ = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if signal_ == signal.SIGXCPU:
        return told("EngineTimeout", TOOK_TOO_LONG)
    if signal_ == signal.SIGKILL or used.ru_maxrss * 1024 > limits.memory / 2:
        return told("OutOfMemory")
    return told("CorruptFile", CRASHED, f"it was ended by signal {signal_}")


def told(error: str, message: str = "", trace: str = "") -> bytes:
    """The answer that tells an error."""
    return json.dumps({"error": error, "message": message, "trace": trace}).encode()


# ------------------------------------------------------------------ the process in the cage


def _child(request: dict[str, Any], limits: Limits, answering: Connection, helper: int) -> NoReturn:
    try:
        die_with(helper)
        _lock_in(Path(request["folder"]), limits)
        deadline = time.monotonic() + request.get("begin_within", 0)
        for part in opening.parts(request):
            answering.send_bytes(_open(part, limits, partial(_ask, answering)))
            if time.monotonic() > deadline:
                break
        answering.send_bytes(NO_MORE)
        answering.close()
    finally:
        os._exit(0)


def _lock_in(folder: Path, limits: Limits) -> None:
    os.setsid()
    (folder / PID).write_text(str(os.getpid()))
    if (folder / STOPPED).exists():
        os._exit(0)
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # told as an error of the write
    written = max(FILE_BYTES, limits.max_file_bytes)
    seconds = max(1, round(limits.seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 2))  # SIGXCPU, then SIGKILL
    confine(memory=limits.memory, written=written)


def _ask(answering: Connection, digest: str) -> Stance | None:
    answering.send_bytes(question.MARK + digest.encode())
    answer = json.loads(answering.recv_bytes())
    return Stance(**answer) if answer else None


def _open(request: dict[str, Any], limits: Limits, ask: Known) -> bytes:
    try:
        return json.dumps(opening.DO[request["do"]](request, limits, ask)).encode()
    except OcrError as error:
        return told(type(error).__name__, str(error))
    except MemoryError:
        return told("OutOfMemory")
    except OSError as error:
        return _of_the_system(error)
    except Exception as error:  # whatever a decoder raises is the file's doing
        if getattr(error, "code", None) == OPENCV_NO_MEMORY:
            return told("OutOfMemory")
        return told("CorruptFile", "", traceback.format_exc(limit=-4))


def _of_the_system(error: OSError) -> bytes:
    match error.errno:
        case number if number in NO_SPACE:
            return told("NoSpace")
        case errno.ENOENT:
            return told("SourceMissing")
        case errno.ENOMEM:
            return told("OutOfMemory")
        case errno.EFBIG:
            return told("TooLarge")
        case number if number in MACHINE:
            return json.dumps({"errno": number}).encode()
        case _:
            return told("CorruptFile", "", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), asker=int(sys.argv[2]))
