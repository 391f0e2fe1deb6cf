"""`manage.py forget`: clear what was recognised before."""

import shutil
from typing import Any

from django.contrib.auth.models import User
from django.core.management import CommandError
from django.core.management.base import BaseCommand, CommandParser
from django.template.defaultfilters import filesizeformat, pluralize

from batches.models import Recognition


class Command(BaseCommand):
    help = (
        "Forget what was recognised before: the same pages are read anew when they come again. "
        "Batches keep their text. Safe at any time, also while the server runs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", metavar="NAME", help="only what is kept for this user")

    def handle(self, *, user: str | None, **options: Any) -> None:
        kept = Recognition.objects.all()
        if user is not None:
            if not (owner := User.objects.filter(username=user).first()):
                raise CommandError(f"There is no user named {user}.")
            kept = kept.filter(owner=owner)
        sizes = [row.bytes for row in kept.forget()]
        if user is None:
            shutil.rmtree(Recognition.folder(), ignore_errors=True)  # with files that no row knows
        size = filesizeformat(sum(sizes)).replace("\xa0", " ")
        self.stdout.write(f"Forgotten: {len(sizes)} result{pluralize(len(sizes))}, {size}.")
