"""`manage.py ocr PATH…`: one batch, from files to text, without a browser."""

import os
import signal
import socket
import sys
import time
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand, CommandParser
from natsort import natsorted, ns
from tqdm import tqdm

from batches import documents, health, ocr, services, tasks
from batches.errors import EngineMissing, FileError, LanguageMissing, UnsupportedType
from batches.events import Event, events_after
from batches.exports.text import page_texts
from batches.files import replacing
from batches.models import Batch, SourceFile
from batches.ocr import BUILT_IN, NamedOptions, Options, PdfText
from batches.presets import named, presets_of
from batches.tasks.limits import limits
from ocrsite.processes import CannotStart, PrivateRedis, Program, procfile

LOOK_EVERY = 0.2  # seconds between two looks at the batch's events
WRONG_USAGE = 2


def existing_path(value: str) -> Path:
    if not (path := Path(value)).exists():
        raise ArgumentTypeError(f"{value} does not exist")
    return path


class Command(BaseCommand):
    help = (
        "Read files and folders of scans, and write one text file for each. Exit 0: all read; 1: some failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=existing_path, metavar="PATH")
        parser.add_argument(
            "--lang", default="", help="languages, joined by +: eng+deu (default: the preset's, or eng)"
        )
        parser.add_argument(
            "--out", type=Path, default=Path("text"), help="folder to write to (default: text)"
        )
        parser.add_argument("--format", choices=["txt"], default="txt")
        parser.add_argument(
            "--preset",
            default="",
            help=f"how to read: {', '.join(preset.key for preset in BUILT_IN)}, or the name of a preset of "
            f"the owner's own (default: {BUILT_IN[0].key})",
        )
        parser.add_argument(
            "--pdf-text",
            choices=[choice.value for choice in PdfText],
            default="",
            help="keep the text that a PDF brings with it where it is good, or read every page "
            "(default: as the preset has it; those built in keep it)",
        )
        parser.add_argument("--name", default="", help="the batch's name (default: the first path)")
        parser.add_argument("--owner", default="", help="user who owns the batch (default: command-line)")

    def handle(self, *, paths: list[Path], lang: str, out: Path, **options: Any) -> None:
        self.unreadable = False
        found = self._find(paths)
        if not found:
            raise CommandError("There is no image or PDF file in what was given.", returncode=WRONG_USAGE)
        try:
            with _Stack() as stack:
                owner = _owner(options["owner"])
                preset = _preset(owner, options["preset"])
                reading = _reading(preset, lang, options["pdf_text"])
                batch = self._create(found, owner, options["name"] or paths[0].name, reading, preset)
                self._follow(batch, stack)
                failed = self._write(batch, out, list(found.values()))
        except (EngineMissing, CannotStart) as error:
            raise CommandError(str(error)) from error
        raise SystemExit(1 if failed or self.unreadable else 0)

    # -------------------------------------------------------------- what to read

    def _find(self, paths: list[Path]) -> dict[Path, Path]:
        """The files to read, in order, each with its text file's place below the output folder."""
        found: dict[Path, Path] = {}
        taken: set[Path] = set()
        for path in paths:
            for file in natsorted(path.rglob("*"), alg=ns.IGNORECASE) if path.is_dir() else [path]:
                relative = file.relative_to(path) if path.is_dir() else Path(file.name)
                if (
                    file in found
                    or not file.is_file()
                    or any(part.startswith(".") for part in relative.parts)
                ):
                    continue
                if self._is_to_be_read(file, chosen=not path.is_dir()):
                    found[file] = _free_place(relative, taken)
                    taken.add(found[file])
        return found

    def _is_to_be_read(self, file: Path, *, chosen: bool) -> bool:
        """What cannot be opened is told and left out; so is what is no scan, unless chosen by name."""
        try:
            documents.inspect(file, limits(), settings.TMP_DIR)
        except UnsupportedType:
            if not chosen:
                self._tell(f"Skipped, not an image or PDF: {file}")
            return chosen
        except FileError:
            return True  # damaged and the like: to be told with the batch
        except OSError as error:
            self.unreadable = True
            self._tell(f"Cannot be opened: {file}: {error.strerror}")
            return False
        return True

    def _tell(self, line: str) -> None:
        self.stderr.write(_printable(line))

    def _create(
        self, found: dict[Path, Path], owner: User, name: str, reading: Options, preset: NamedOptions
    ) -> Batch:
        uploads = [services.LocalFile(path, str(place.with_name(path.name))) for path, place in found.items()]
        same = reading == preset.options(reading.languages)
        try:
            return services.create_batch(owner, name, uploads, reading, preset=preset.name if same else "")
        except LanguageMissing as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from error

    # -------------------------------------------------------------- while it is read

    def _follow(self, batch: Batch, stack: "_Stack") -> None:
        """Show progress until the batch has ended. Ctrl-C cancels it; what is done is kept."""
        try:
            with tqdm(unit="page", total=None, desc=batch.name[:30], dynamic_ncols=True) as bar:
                self._show_events(batch, stack, bar)
        except KeyboardInterrupt:
            services.cancel_batch(batch)
            raise CommandError("Cancelled; what was read is kept.", returncode=130) from None

    def _show_events(self, batch: Batch, stack: "_Stack", bar: "tqdm[Any]") -> None:
        seq, ended, swept = 0, False, time.monotonic()
        while not ended:
            for event in events_after(batch.pk, seq, 500):
                seq = event["seq"]
                bar.total = event["batch"]["total"] or None
                bar.update(event["batch"]["current"] - bar.n)
                self._tell_failure(event, bar)
                ended = event["batch"]["status"] in Batch.ENDED
            if time.monotonic() - swept > settings.SWEEP_SECONDS:  # no scheduler need be running
                swept = time.monotonic()
                stack.ensure()
                tasks.mend()
            time.sleep(LOOK_EVERY)

    def _tell_failure(self, event: Event, bar: "tqdm[Any]") -> None:
        if event["type"] == "page.failed":
            page = event["page"]
            reason = page["error"]["message"] if page["error"] else ""
            bar.write(
                f"Failed: {page['filename']} (page {page['number']} of the batch): {reason}", file=sys.stderr
            )
        elif event["type"] == "file.rejected":
            file = event["file"]
            reason = file["error"]["message"] if file["error"] else ""
            bar.write(f"Refused: {file['name']}: {reason}", file=sys.stderr)

    # -------------------------------------------------------------- what came of it

    def _write(self, batch: Batch, out: Path, places: list[Path]) -> bool:
        """Write a text file for each file that could be opened. Answers whether anything failed."""
        batch.refresh_from_db()
        taken = set(places)
        for source in batch.files.filter(status=SourceFile.Status.ACCEPTED):
            place = places[source.position - 1]
            if source.member:
                place = _free_place(_inside(place, source), taken)
                taken.add(place)
            with replacing(out / place) as temporary, temporary.open("w", encoding="utf-8") as file:
                file.writelines(page_texts(source.pages.all()))
        rejected = batch.files.filter(status=SourceFile.Status.REJECTED).count()
        self.stderr.write(
            f"{batch.succeeded} of {batch.total} pages read, {batch.failed} failed; "
            f"{rejected} files refused. Text in {out}/"
        )
        if batch.error_message:
            self.stderr.write(batch.error_message)
        return batch.succeeded < batch.total or rejected > 0 or not batch.total


class _Stack:
    """What reading needs, brought up where it is not there already, and taken down again."""

    def __enter__(self) -> "_Stack":
        health.engine_state()
        call_command("migrate", interactive=False, verbosity=0)
        self.redis = PrivateRedis() if settings.REDIS_IS_PRIVATE else None
        self.worker: Program | None = None
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self.ensure()
        except BaseException:
            self.__exit__()
            raise
        return self

    def ensure(self) -> None:
        """Start Redis and a worker unless they answer."""
        if self.redis:
            self.redis.ensure()
        if self.worker:
            self.worker.ensure()
        elif not health.worker_answers():
            node = f"ocr-{os.getpid()}@{socket.gethostname()}"
            self.worker = procfile(HOST="", PORT="", NODE=node)["worker"]
            self.worker.start()

    def __exit__(self, *args: object) -> None:
        for program in (self.worker, self.redis):
            if program:
                program.stop(grace=10)


def _owner(name: str) -> User:
    try:
        return User.objects.get(username=name) if name else services.command_line_user()
    except User.DoesNotExist as error:
        raise CommandError(f"There is no user {name}.", returncode=WRONG_USAGE) from error


def _preset(owner: User, name: str) -> NamedOptions:
    if preset := named(owner, name or BUILT_IN[0].key):
        return preset
    there = [preset.key if preset in BUILT_IN else f"“{preset.name}”" for preset in presets_of(owner)]
    raise CommandError(
        f"There is no preset “{name}”. Choose from: {', '.join(there)}.", returncode=WRONG_USAGE
    )


def _reading(preset: NamedOptions, lang: str, pdf_text: str) -> Options:
    """The preset in these languages, or in its own; `pdf_text` where that is chosen otherwise."""
    if preset.languages:
        languages = tuple(lang.split("+")) if lang else preset.languages
    else:
        languages = preset.with_languages(
            (lang or "eng").split("+"), ocr.probe(settings.OCR_ENGINE).languages
        )
    reading = preset.options(languages)
    return replace(reading, pdf_text=PdfText(pdf_text)) if pdf_text else reading


def _printable(line: str) -> str:
    """The line with bytes that are no UTF-8 (old archives have such names) as question marks."""
    return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _inside(place: Path, source: SourceFile) -> Path:
    """Below a folder named for the archive, where the member's name says: `box/letters/card-2.png`."""
    # Names that lead elsewhere were refused; what is left of such a part could still be too long a name.
    path = source.name.removeprefix(f"{source.archive.name}/")
    parts = [part[-200:] for part in path.split("/") if part not in ("", ".", "..")]
    return place.with_suffix("").joinpath(*parts)


def _free_place(relative: Path, taken: set[Path]) -> Path:
    """`letter.txt` for letter.pdf; `letter.pdf.txt` where another file has that name; then with a number."""
    place = relative.with_suffix(".txt")
    if place in taken:
        place = relative.with_name(f"{relative.name}.txt")
    number = 2
    while place in taken:
        place = relative.with_name(f"{relative.name}-{number}.txt")
        number += 1
    return place
