"""What the API says of itself: `/types`, `/openapi.json`, and `/docs`, which shows the latter to people.

Invariant: the page loads nothing from elsewhere and holds no script of its own, and its headers forbid both.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gotaskq.api.answers import JSON
from gotaskq.api.openapi import build_openapi
from gotaskq.app import TaskQ
from gotaskq.descriptions import describe_types

VIEWER: Final = Path(__file__).with_name("viewer")
ASSETS: Final = {"docs.css": "text/css", "docs.js": "text/javascript"}
HEADERS: Final = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Described:
    """The endpoints that describe one TaskQ."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq
        self._document: tuple[object, bytes] = (None, b"")  # and what it was made of

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/types", self.types, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/docs", self.docs, methods=["GET"]),
            Route("/docs/{asset}", self.asset, methods=["GET"]),
        ]

    async def types(self, _: Request) -> Response:
        """`GET /types`: the job types known here, with their schemas."""
        types = [*describe_types(self._taskq.tasks, self._taskq.job_types), *self._taskq.types_elsewhere]
        types.sort(key=lambda entry: str(entry["type"]))
        return Response(msgspec.json.encode({"types": types}), media_type=JSON)

    async def openapi(self, _: Request) -> Response:
        """`GET /openapi.json`: the API as OpenAPI 3.1."""
        taskq = self._taskq
        made_of = (taskq.job_types, taskq.types_elsewhere)
        known, document = self._document
        if known != made_of:
            document = msgspec.json.encode(self._build())
            self._document = (made_of, document)
        return Response(document, media_type=JSON)

    def _build(self) -> dict[str, Any]:
        taskq, elsewhere = self._taskq, self._taskq.types_elsewhere
        others = [name for name in taskq.job_types if name not in taskq.tasks]
        others += [entry["type"] for entry in elsewhere if "schema" not in entry]
        only = sorted(others) if taskq.settings.strict_types else None
        return build_openapi(taskq.tasks, elsewhere=elsewhere, only_others=only)

    async def docs(self, _: Request) -> Response:
        """`GET /docs`: a page that shows the document."""
        return Response((VIEWER / "docs.html").read_bytes(), media_type="text/html", headers=HEADERS)

    async def asset(self, request: Request) -> Response:
        """`GET /docs/{asset}`: the page's style and script."""
        name = request.path_params["asset"]
        if name not in ASSETS:
            raise HTTPException(404)
        return Response((VIEWER / name).read_bytes(), media_type=ASSETS[name], headers=HEADERS)
