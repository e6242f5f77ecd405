"""What the API says of itself: `/types`, `/openapi.json`, and `/docs`, which shows the latter to people.

Invariant: the page loads nothing from elsewhere and holds no script of its own, and its headers forbid both.
"""

from pathlib import Path
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gotaskq.api.answers import JSON
from gotaskq.api.openapi import build_openapi, describe_types
from gotaskq.app import TaskQ

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
        self._documents: dict[int, bytes] = {}  # by the number of job types: they are added and never taken away

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
        types = describe_types(self._taskq.tasks, self._taskq.job_types)
        return Response(msgspec.json.encode(types), media_type=JSON)

    async def openapi(self, _: Request) -> Response:
        """`GET /openapi.json`: the API as OpenAPI 3.1."""
        job_types = self._taskq.job_types
        document = self._documents.get(len(job_types))
        if document is None:
            others = [name for name in job_types if name not in self._taskq.tasks]
            only = others if self._taskq.settings.strict_types else None
            document = msgspec.json.encode(build_openapi(self._taskq.tasks, only_others=only))
            self._documents = {len(job_types): document}
        return Response(document, media_type=JSON)

    async def docs(self, _: Request) -> Response:
        """`GET /docs`: a page that shows the document."""
        return Response((VIEWER / "docs.html").read_bytes(), media_type="text/html", headers=HEADERS)

    async def asset(self, request: Request) -> Response:
        """`GET /docs/{asset}`: the page's style and script."""
        name = request.path_params["asset"]
        if name not in ASSETS:
            raise HTTPException(404)
        return Response((VIEWER / name).read_bytes(), media_type=ASSETS[name], headers=HEADERS)
