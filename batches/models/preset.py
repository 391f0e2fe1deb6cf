"""A user's own preset: a named set of options. Batches made with it have a copy, and do not change with it."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from batches.ocr import NamedOptions


class Preset(models.Model):
    """One preset of one user. `options` are those of batches, where no languages mean: those chosen there."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="presets")
    name = models.CharField(max_length=60)
    options = models.JSONField()
    created = models.DateTimeField(db_default=Now())
    updated = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=["owner", "name"], name="preset_name_unique_for_owner"),
        )

    def __str__(self) -> str:
        return self.name

    def as_named(self) -> NamedOptions:
        """The same as the built-in ones are."""
        settings: dict[str, Any] = {**self.options}
        languages = tuple(settings.pop("languages", ()))
        return NamedOptions(str(self.pk), self.name, settings=settings, languages=languages)

    def change(self, name: str, options: dict[str, Any]) -> bool:
        """Another name, or other options. False: it was deleted meanwhile."""
        there = Preset.objects.filter(pk=self.pk)
        return bool(there.update(name=name, options=options, updated=Now()))
