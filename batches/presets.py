"""The presets that a user may choose from, and the commands that keep their own."""

from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction

from batches.errors import BadPreset
from batches.models import Preset
from batches.ocr import BUILT_IN, NamedOptions

MAX_PRESETS = 50  # of one user
MAX_NAME = 60  # characters


def presets_of(owner: User) -> list[NamedOptions]:
    """The built-in ones, then the user's own."""
    return [*BUILT_IN, *(preset.as_named() for preset in owner.presets.all())]


def named(owner: User, key_or_name: str) -> NamedOptions | None:
    """The preset that is called so, whatever the case of its letters; None where there is none."""
    wanted = key_or_name.strip().casefold()
    found = (preset for preset in presets_of(owner) if wanted in (preset.key, preset.name.casefold()))
    return next(found, None)


@transaction.atomic
def save_preset(owner: User, name: str, options: dict[str, Any], preset: Preset | None = None) -> Preset:
    """Keep the options by that name: as a new preset, or in the place of `preset`.

    Raises BadPreset where the name is taken or the user has as many as may be.
    """
    User.objects.select_for_update(no_key=True).get(pk=owner.pk)  # one at a time: names and number must hold
    check_name(owner, name, preset.pk if preset else None)
    if preset and preset.change(name, options):
        return preset
    if owner.presets.count() >= MAX_PRESETS:
        raise BadPreset(f"You have {MAX_PRESETS} presets of your own, as many as may be. Delete one first.")
    return Preset.objects.create(owner=owner, name=name, options=options)


def check_name(owner: User, name: str, pk: UUID | None = None) -> None:
    """Raise BadPreset unless a preset (the one with `pk`) may be called so."""
    other = named(owner, name)
    if other is None or other.key == str(pk):
        return
    whose = "comes with the program" if other in BUILT_IN else "is there already"
    raise BadPreset(f"A preset “{other.name}” {whose}. Choose another name.")
