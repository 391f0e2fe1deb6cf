"""Named sets of options that a person understands, and what each option is called."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from batches.ocr.languages import FRAKTUR, language_name
from batches.ocr.options import Options, PdfText, Preparation, Segmentation


@dataclass(frozen=True)
class Choice:
    """An option that a preset may set: what it is called, its values, and what people call those."""

    title: str
    kind: type[StrEnum]
    names: Mapping[str, str]

    def name(self, value: str) -> str:
        """What the value is called; one without a name is shown as it is."""
        return self.names.get(value, value)

    @property
    def values(self) -> list[tuple[str, str]]:
        """Each value with its name, for a form."""
        return [(value.value, self.name(value)) for value in self.kind]


CHOICES: Mapping[str, Choice] = {
    "segmentation": Choice(
        "Layout",
        Segmentation,
        {
            Segmentation.AUTO: "Automatic",
            Segmentation.BLOCK: "One block of text",
            Segmentation.SPARSE: "Scattered words, as on a form",
            Segmentation.CARD: "An index card",
        },
    ),
    "preparation": Choice(
        "Preparation",
        Preparation,
        {
            Preparation.AUTO: "What each page needs",
            Preparation.FADED: "For faded or stained pages",
            Preparation.OFF: "None, read as it is",
        },
    ),
    "pdf_text": Choice(
        "Text that a PDF brings",
        PdfText,
        {PdfText.KEEP: "Kept where it is good", PdfText.READ: "Every page read anew"},
    ),
}


def in_words(settings: Mapping[str, Any]) -> str:
    """What these options do, in one line: "Layout: automatic · Preparation: …"."""
    told = [
        f"{choice.title}: {_within_a_line(choice.name(settings[option]))}"
        for option, choice in CHOICES.items()
        if option in settings
    ]
    if languages := settings.get("languages"):
        told.append(f"Languages: {', '.join(map(language_name, languages))}")
    return " · ".join(told)


def _within_a_line(name: str) -> str:
    return name[:1].lower() + name[1:]


@dataclass(frozen=True)
class NamedOptions:
    """A preset: what it is called, and how it reads.

    `key` is what forms and the command line call it. `languages` are its own, and come in the place of those
    that were not chosen; of `models` the first that is installed is added to any languages.
    """

    key: str
    name: str
    purpose: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What it does, in one line."""
        return in_words({**self.settings, "languages": self.languages})

    def with_languages(self, chosen: Iterable[str], installed: Iterable[str]) -> tuple[str, ...]:
        """The languages chosen, and those that the preset brings."""
        there = set(installed)
        # One: they read the same letters, and each costs time.
        model = [model for model in self.models if model in there][:1]
        return tuple(dict.fromkeys([*chosen, *self.languages, *model]))

    def options(self, languages: Iterable[str]) -> Options:
        """How it reads in these languages. Raises BadOptions."""
        return Options.parse({**self.settings, "languages": list(languages)})


def _built_in(key: str, name: str, purpose: str, **choices: Any) -> NamedOptions:
    models = choices.pop("models", ())
    settings = {"segmentation": Segmentation.AUTO, "preparation": Preparation.AUTO, "pdf_text": PdfText.KEEP}
    return NamedOptions(key, name, purpose, settings | choices, models=models)


BUILT_IN = (
    _built_in(
        "printed-pages",
        "Printed pages",
        "Books, letters and reports in modern print, in one column or several.",
    ),
    _built_in(
        "typewritten",
        "Typewritten",
        "Typescript and carbon copies: pale or uneven ink, yellowed paper.",
        preparation=Preparation.FADED,
    ),
    _built_in(
        "index-cards",
        "Index cards",
        "Catalogue cards: a few short lines, small and often close to the edge.",
        segmentation=Segmentation.CARD,
    ),
    _built_in(
        "old-print",
        "Old print",
        "Fraktur and other print from before about 1900, stained or shining through. "
        "A Fraktur model is added where one is installed.",
        models=FRAKTUR,
    ),
    _built_in(
        "forms-and-tables",
        "Forms & tables",
        "Words and numbers that stand apart: forms, lists, registers, invoices.",
        segmentation=Segmentation.SPARSE,
    ),
)
DEFAULT = BUILT_IN[0]
