"""`manage.py recover`: what the sweep mends, at once and by hand."""

from typing import Any

from django.core.management.base import BaseCommand

from batches import tasks


class Command(BaseCommand):
    help = (
        "Mend what crashes left behind, as the scheduler does every few seconds, and print what was mended. "
        "Safe at any time, also while the server runs."
    )

    def handle(self, **options: Any) -> None:
        lines = tasks.mend()
        self.stdout.write("\n".join(lines) or "There was nothing to mend.")
