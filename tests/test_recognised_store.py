"""What is kept of earlier recognitions: bounded, cleared by the operator, mended where a half is missing."""

import os
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from batches import tasks
from batches.models import Recognition
from batches.tasks import mending, recognised

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def keep(user) -> Callable[..., Recognition]:
    """An earlier result of 100 bytes that was of use so many days ago."""

    def make(key: str, days: int = 0, owner=user) -> Recognition:
        Recognition.objects.keep(owner.pk, key * 64, 100)
        row = Recognition.objects.filter(key=key * 64)
        row.update(used=F("used") - timedelta(days=days))
        path = row.get().path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        return row.get()

    return make


def keys() -> str:
    rows = "".join(sorted(key[0] for key in Recognition.objects.values_list("key", flat=True)))
    assert rows == "".join(sorted(path.name[0] for path in Recognition.folder().rglob("*.json")))
    return rows


def test_what_was_of_use_longest_ago_goes_first(keep, settings):
    for key, days in {"a": 1, "b": 4, "c": 2, "d": 3}.items():
        keep(key, days)
    settings.RECOGNISED_BYTES = 250
    assert any("RECOGNISED_BYTES" in line for line in tasks.mend())
    assert keys() == "ac"
    assert tasks.mend() == []


def test_forget_clears_and_prints_how_much(keep, capsys):
    for key in "abc":
        keep(key)
    Recognition.path_of("d" * 64).parent.mkdir()
    Recognition.path_of("d" * 64).touch()  # with no row: what a crash left behind
    call_command("forget")
    assert capsys.readouterr().out == "Forgotten: 3 results, 300 bytes.\n"
    assert keys() == ""


def test_forget_one_users(keep, other, capsys):
    keep("a")
    keep("b", owner=other)
    call_command("forget", user="eve")
    assert capsys.readouterr().out == "Forgotten: 1 result, 100 bytes.\n"
    assert keys() == "a"
    with pytest.raises(CommandError, match="no user named nobody"):
        call_command("forget", user="nobody")


def test_a_deleted_users_go_with_the_user(keep, other):
    keep("a")
    gone = keep("b", owner=other)
    other.delete()
    os.utime(gone.path, (0, 0))
    assert list(recognised.heal(0xBB, lambda path: mending._is_older(path, 60)))
    assert keys() == "a"


def test_halves_are_removed_and_what_is_being_written_is_left_alone(keep):
    keep("a").path.unlink()
    whole = keep("b")
    new, old = (whole.path.with_name(name) for name in (f"b{'1' * 63}.json", f".b{'2' * 63}.json.x"))
    for path in (new, old):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    for part in (0xAA, 0xBB):
        list(recognised.heal(part, lambda path: mending._is_older(path, 60)))
    assert set(whole.path.parent.iterdir()) == {whole.path, new}
    assert not Recognition.objects.filter(key__startswith="a").exists()
