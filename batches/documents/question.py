"""The one question that a process in the cage may ask in the midst of its request: is this page known already?

As little to be trusted as an answer: it comes from where the user's file is open.
"""

import json
import re
from dataclasses import asdict

from batches.documents.pages import Known, Stance
from batches.errors import CorruptFile

MARK = b"?"  # what a question begins with, and no answer
MOST_BYTES = 100
DIGEST = re.compile(rb"\?([0-9a-f]{64})")  # SHA-256 in hex


class Question:
    """Answers it by `known`. Afterwards `digest` and `answer` are what was asked and answered."""

    def __init__(self, known: Known | None) -> None:
        self.known = known
        self.digest = ""
        self.answer: Stance | None = None

    def __call__(self, asked: bytes) -> bytes:
        """The answer as it is sent. Raises CorruptFile for what is no question."""
        digest = DIGEST.fullmatch(asked)
        if digest is None or self.known is None:
            raise CorruptFile
        self.digest = digest[1].decode()
        self.answer = self.known(self.digest)
        return json.dumps(self.answer and asdict(self.answer)).encode()
