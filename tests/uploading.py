"""A draft of somebody, over HTTP: what a browser does with tus."""

import base64
import re
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User

from tests.conftest import client_of

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = "application/offset+octet-stream"
PNG = b"\x89PNG\r\n\x1a\n"


def metadata(**words: str) -> str:
    return ",".join(f"{key} {base64.b64encode(word.encode()).decode()}" for key, word in words.items())


class Draft:
    """One draft of somebody, over HTTP."""

    def __init__(self, user: User | None, submission: UUID | None = None) -> None:
        self.client = client_of(user)
        self.submission = submission or uuid4()

    def create(self, content: bytes | int, name: str = "card.png", send: int = 0, **given: str) -> Any:
        """The answer to a new file; the first `send` bytes of it come along."""
        size = content if isinstance(content, int) else len(content)
        words = {
            "filename": name,
            "submission": str(self.submission),
            "fingerprint": re.sub("[ /]", "-", name),
        }
        words |= given
        headers = TUS | {"Upload-Length": str(size), "Upload-Metadata": metadata(**words)}
        data = content[:send] if isinstance(content, bytes) else b""
        kind = PIECE if send else "text/plain"
        return self.client.post("/uploads/", data, content_type=kind, headers=headers)

    def begin(self, content: bytes | int, name: str = "card.png") -> str:
        answer = self.create(content, name)
        assert answer.status_code == 201, answer.content
        return str(answer["Location"])

    def patch(self, url: str, offset: int, data: bytes, kind: str = PIECE, **headers: str) -> Any:
        headers = TUS | {"Upload-Offset": str(offset)} | headers
        return self.client.patch(url, data, content_type=kind, headers=headers)

    def whole(self, content: bytes, name: str) -> Any:
        answer = self.create(content, name, send=len(content))
        assert answer.status_code == 201, answer.content
        return answer

    def offset(self, url: str) -> int:
        return int(self.client.head(url, headers=TUS)["Upload-Offset"])

    def listed(self) -> list[dict[str, Any]]:
        return list(self.client.get(f"/uploads/?submission={self.submission}").json()["files"])

    def start(self, **data: Any) -> Any:
        return self.client.post("/batches/new/", {"submission": self.submission, "languages": ["eng"]} | data)
