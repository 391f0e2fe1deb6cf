"""The pages on which users see the presets and keep their own. Nobody sees another's: that is 404."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from batches import ocr
from batches.errors import BadPreset, EngineMissing
from batches.forms import PresetForm
from batches.forms.choices import language_choices
from batches.models import Preset
from batches.ocr import BUILT_IN, NamedOptions
from batches.ocr.presets import DEFAULT
from batches.presets import MAX_NAME, named, presets_of, save_preset


@login_required
@require_safe
def preset_list(request: HttpRequest) -> HttpResponse:
    """The built-in presets, the user's own, and the languages that can be read."""
    assert isinstance(request.user, User)
    installed = _installed()
    own = presets_of(request.user)[len(BUILT_IN) :]
    context = {
        "built_in": [(preset, _brought(preset, installed)) for preset in BUILT_IN],
        "own": [(preset, [one for one in preset.languages if one not in installed]) for preset in own],
        "languages": language_choices(installed),
    }
    return render(request, "presets/list.html", context)


def _brought(preset: NamedOptions, installed: list[str]) -> str:
    """What the preset does about models of its own, for people; empty where it has none."""
    if not preset.models:
        return ""
    found = preset.with_languages([], installed)
    return f"Adds: {ocr.language_name(found[0])}" if found else "No Fraktur model is installed here"


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def preset_new(request: HttpRequest) -> HttpResponse:
    """Make a preset, beginning from another one (`?from=<key>`)."""
    assert isinstance(request.user, User)
    origin = named(request.user, request.GET.get("from", "")) or DEFAULT
    name = "" if "from" not in request.GET else _free_name(request.user, origin.name)
    form = PresetForm(
        request.POST or None,
        owner=request.user,
        languages=_installed(),
        initial=PresetForm.initial_of(origin, name),
    )
    return _edit(request, form, {"title": "New preset"})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def preset_edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Change a preset of one's own."""
    assert isinstance(request.user, User)
    preset = get_object_or_404(Preset, owner=request.user, pk=pk)
    initial = PresetForm.initial_of(preset.as_named(), preset.name)
    form = PresetForm(
        request.POST or None, owner=request.user, languages=_installed(), pk=pk, initial=initial
    )
    return _edit(request, form, {"title": preset.name, "preset": preset})


def _edit(request: HttpRequest, form: PresetForm, context: dict[str, Any]) -> HttpResponse:
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["name"]
        try:
            save_preset(form.owner, name, form.options(), context.get("preset"))
            messages.success(request, f"“{name}” was saved. Batches made before stay as they are.")
            return redirect("batches:presets")
        except BadPreset as error:
            form.add_error(None, str(error))
    return render(request, "presets/edit.html", context | {"form": form})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def preset_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask whether the preset is to go; then remove it. Batches made with it keep their options."""
    preset = get_object_or_404(Preset, owner=request.user, pk=pk)
    if request.method != "POST":
        return render(request, "presets/delete.html", {"preset": preset})
    Preset.objects.filter(pk=preset.pk).delete()
    messages.success(request, f"“{preset.name}” was deleted.")
    return redirect("batches:presets")


def _installed() -> list[str]:
    """The languages that can be read; none without an engine: presets may be kept all the same."""
    try:
        return list(ocr.probe(settings.OCR_ENGINE).languages)
    except EngineMissing:
        return []


def _free_name(owner: User, name: str) -> str:
    """A name for a copy: `Index cards 2`, or the next number that is not taken."""
    number = 2
    while named(owner, copy := f"{name[: MAX_NAME - 4]} {number}"):
        number += 1
    return copy
