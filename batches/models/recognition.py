"""What was recognised before: which results are kept, whose they are, how large, and when they were last of use."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

USED_EVERY = timedelta(days=1)  # so often at the most it is written down that one was of use
SLICE = 1000  # rows at a time


class RecognitionQuerySet(models.QuerySet["Recognition"]):
    """Many results."""

    def size(self) -> int:
        """Bytes of all of them."""
        return int(self.aggregate(bytes=models.Sum("bytes", default=0))["bytes"])

    def find(self, key: str) -> "Recognition | None":
        """The result of that key, with the database's clock as `now`."""
        return self._with_clock().filter(key=key).first()

    def _with_clock(self) -> Self:
        return self.annotate(now=Now())

    def keep(self, owner_id: int, key: str, size: int) -> None:
        """There is a file of `size` bytes for that key; one of before is replaced."""
        row = Recognition(owner_id=owner_id, key=key, bytes=size)
        self.bulk_create([row], update_conflicts=True, unique_fields=["key"], update_fields=["bytes"])

    def forget(self, least: int | None = None) -> Iterator["Recognition"]:
        """Remove those used longest ago, with their files: `least` bytes, or all. Answers what is gone."""
        gone = 0
        while rows := list(self.order_by("used", "pk")[:SLICE]):
            if least is not None:
                rows = _enough(rows, least - gone)
            Recognition.objects.filter(pk__in=[row.pk for row in rows]).delete()
            for row in rows:
                row.path.unlink(missing_ok=True)
                gone += row.bytes
                yield row
            if least is not None and gone >= least:
                return


def _enough(rows: list["Recognition"], least: int) -> list["Recognition"]:
    """The first of the rows that have so many bytes together."""
    taken: list[Recognition] = []
    for row in rows:
        if least <= 0:
            break
        least -= row.bytes
        taken.append(row)
    return taken


class Recognition(models.Model):
    """The result of one recognition, in a file: for the same owner, page, options and engine it is taken again.

    The owner is part of the key: nobody finds anything of another's, not even by how long it takes.
    """

    now: datetime  # the database's clock; only on one that was found
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="recognitions")
    key = models.CharField(max_length=64, unique=True)  # SHA-256 in hex of everything it depends on
    bytes = models.PositiveIntegerField()  # of its file
    created = models.DateTimeField(db_default=Now())
    used = models.DateTimeField(db_default=Now(), db_index=True)

    objects = RecognitionQuerySet.as_manager()

    def __str__(self) -> str:
        return self.key

    @classmethod
    def folder(cls) -> Path:
        """Where their files are kept."""
        return Path(settings.DATA_DIR) / "recognised"

    @classmethod
    def path_of(cls, key: str) -> Path:
        """The file of that key."""
        return cls.folder() / key[:2] / f"{key}.json"

    @property
    def path(self) -> Path:
        return self.path_of(self.key)

    def was_used(self) -> None:
        """It is of use now: it goes later than others when there is no more room."""
        if self.now - self.used > USED_EVERY:
            Recognition.objects.filter(pk=self.pk).update(used=Now())
