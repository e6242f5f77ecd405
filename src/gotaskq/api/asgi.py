"""The ASGI application: routes, and JSON for whatever matches none of them.

Made by `TaskQ.asgi()`; served by `gotaskq run`, by any ASGI server, or mounted in another application.
"""

import contextlib
import logging
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gotaskq.api.answers import JSON
from gotaskq.api.routes import Routes
from gotaskq.api.schemas import encode_error
from gotaskq.app import TaskQ

logger = logging.getLogger(__name__)


def create_app(taskq: TaskQ) -> Starlette:
    """Return the application; served on its own it opens the TaskQ for its lifetime, mounted it expects it open."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if taskq.is_open:
            yield
        else:
            async with taskq:
                yield

    app = Starlette(
        routes=[*Routes(taskq).routes()],
        lifespan=lifespan,
        exception_handlers={HTTPException: _refuse_http, Exception: _hide},
    )
    app.router.redirect_slashes = False
    return app


def create_health_app(taskq: TaskQ) -> Starlette:
    """Return what a process without the API answers: health and metrics, of a TaskQ that is open."""
    app = Starlette(
        routes=Routes(taskq).health_routes(),
        exception_handlers={HTTPException: _refuse_http, Exception: _hide},
    )
    app.router.redirect_slashes = False
    return app


async def _refuse_http(_: Request, error: Exception) -> Response:
    """Answer 404 and 405 in the words of the API, with Allow where Starlette names it."""
    if not isinstance(error, HTTPException):
        raise error
    return Response(encode_error(error.detail.lower()), error.status_code, dict(error.headers or {}), media_type=JSON)


async def _hide(_: Request, error: Exception) -> Response:
    """Answer 500 without saying why; the log does."""
    logger.error("request failed", exc_info=error)
    return Response(encode_error("internal"), 500, media_type=JSON)
