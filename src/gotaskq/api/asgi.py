"""The ASGI application: routes, and JSON for whatever matches none of them.

Made by `TaskQ.asgi()`; served by `gotaskq run`, by any ASGI server, or mounted in another application.
"""

import contextlib
import time
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from gotaskq.api.answers import JSON, fault
from gotaskq.api.routes import Routes
from gotaskq.api.schemas import encode_error
from gotaskq.api.security.access import Access, open_access
from gotaskq.api.security.envelope import PROBLEM, Envelope, asks_for_problem, problem_of
from gotaskq.api.security.guard import Guard
from gotaskq.api.security.request_id import new_request_id, request_id
from gotaskq.app import TaskQ


def create_app(taskq: TaskQ, access: Access | None = None) -> Starlette:
    """Return the application; served on its own it opens the TaskQ for its lifetime, mounted it expects it open.

    Without `access` it is as the settings say, but for the names of hosts. Raises ConfigError for tokens that cannot be
    read.
    """
    access = access or open_access(taskq.settings, clock_s=time.monotonic, is_mounted=True)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if taskq.is_open:
            yield
        else:
            async with taskq:
                yield

    return _make(Routes(taskq).routes(), access, lifespan)


def create_health_app(taskq: TaskQ, access: Access) -> Starlette:
    """Return what a process without the API answers: health and metrics, of a TaskQ that is open."""
    return _make(Routes(taskq).health_routes(), access)


def _make(routes: list[Route], access: Access, lifespan: Lifespan[Starlette] | None = None) -> Starlette:
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Envelope), Middleware(Guard, routes=routes, access=access)],
        exception_handlers={HTTPException: _refuse_http, Exception: _hide},
    )
    app.router.redirect_slashes = False
    return app


async def _refuse_http(_: Request, error: Exception) -> Response:
    """Answer 404 and 405 in the words of the API, with Allow where Starlette names it."""
    if not isinstance(error, HTTPException):
        raise error
    return Response(encode_error(error.detail.lower()), error.status_code, dict(error.headers or {}), media_type=JSON)


async def _hide(request: Request, error: Exception) -> Response:
    """Answer 500 without saying why; the log does, under the same id."""
    current = getattr(request.state, "request_id", "") or new_request_id()
    token = request_id.set(current)
    try:
        answer = fault(error)
    finally:
        request_id.reset(token)
    headers = {"x-request-id": current}
    if not asks_for_problem(request.headers):
        return Response(answer.body, 500, headers, media_type=JSON)
    return Response(problem_of(500, answer.body, request_id=current), 500, headers, media_type=PROBLEM)
