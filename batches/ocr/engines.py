"""Which engine is there: its version, and the languages it can read."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from batches.errors import EngineMissing, LanguageMissing


@dataclass(frozen=True)
class Engine:
    """The Tesseract that is installed: its version, and the languages it can read."""

    version: str
    languages: tuple[str, ...]

    def check_languages(self, languages: Iterable[str]) -> None:
        """Raise LanguageMissing, with the names, unless all of them are installed."""
        if missing := [language for language in languages if language not in self.languages]:
            raise LanguageMissing.named(missing, list(self.languages))


def probe() -> Engine:
    """Ask the installed Tesseract for its version and languages. Raises EngineMissing."""
    version = _ask_tesseract("--version").split("\n", 1)[0].removeprefix("tesseract").strip(" v")
    listed = _ask_tesseract("--list-langs").splitlines()[1:]  # the first line is a heading
    return Engine(version, tuple(sorted(set(listed) - {"osd", ""})))


def _ask_tesseract(option: str) -> str:
    try:
        answer = subprocess.run(["tesseract", option], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineMissing from error
    return answer.stdout
