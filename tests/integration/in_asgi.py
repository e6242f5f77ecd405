"""The API called as ASGI servers call it, in the test's own process and under its clock."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from tests.integration.http_client import Answer

from gotaskq import TaskQ

ORIGIN: Final = {"origin": "http://elsewhere", "content-type": "text/plain"}  # a form of another site's page


class Api:
    """The API of a TaskQ that is open."""

    def __init__(self, taskq: TaskQ) -> None:
        self._app = taskq.asgi()

    async def ask(
        self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request; a body that is not bytes is sent as JSON."""
        parts = urlsplit(path)
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"host": "test", "content-length": str(len(data)), **(headers or {})}
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        }
        sent: list[Any] = []

        bodies = [data]

        async def receive() -> dict[str, Any]:
            if not bodies:
                await asyncio.Event().wait()  # the client stays to the end
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))

    async def get(self, path: str) -> Answer:
        """Look at something."""
        return await self.ask("GET", path)

    async def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """Ask for something."""
        return await self.ask("POST", path, body, headers=headers)
