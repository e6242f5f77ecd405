"""The guard before each route: it asks for the name, the token and its scope, and writes down what operators do.

Put around the routes when the application is made, so that none can be forgotten.
Invariant: a refused request never reaches its route; what steered jobs or queues is one line in the audit log.
"""

import logging
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gotaskq.api.answers import JSON
from gotaskq.api.schemas import encode_error
from gotaskq.api.security import tokens
from gotaskq.api.security.access import Access, TooManyFailuresError, client_of, is_loopback, scope_of

STEERING: Final = frozenset({tokens.Scope.ADMIN, tokens.Scope.DLQ})
BEARER: Final = {"www-authenticate": "Bearer"}

audit = logging.getLogger("gotaskq.audit")


class Guard:
    """ASGI: a router that is asked only for what is allowed."""

    def __init__(self, app: ASGIApp, routes: list[Route], access: Access) -> None:
        self._app = app
        self._routes = routes
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._judge(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        needed = scope["state"]["needs"]
        if scope["method"] in ("GET", "HEAD") or needed not in STEERING:
            await self._app(scope, receive, send)
        else:
            await self._audited(scope, receive, send)

    def _judge(self, scope: Scope) -> Response | None:
        """Return the refusal of a request; None lets it through, with `principal` in its state."""
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        path = _template(self._routes, scope)
        state["needs"] = needed = scope_of(scope["method"], path)
        state["route"] = path
        state["principal"] = ""
        if not self._access.hosts.admits(headers.get("host", "")):
            return _refusal(421, "this host name is not served here; it can be added to ALLOWED_HOSTS")
        if not self._access.has_tokens or needed is None:
            return None
        if needed is tokens.Scope.METRICS and is_loopback(client_of(scope)):
            return None
        return self._authorise(scope, headers.get("authorization"), needed)

    def _authorise(self, scope: Scope, authorization: str | None, needed: tokens.Scope) -> Response | None:
        try:
            token = self._access.identify(authorization, client_of(scope))
        except TooManyFailuresError as error:
            return _refusal(429, "too many wrong tokens; try again later", {"retry-after": str(error.retry_after_s)})
        if token is None:
            return _refusal(401, "a valid bearer token is needed", BEARER)
        if not token.allows(needed):
            return _refusal(403, f"this token has no scope {needed.value!r}")
        scope["state"]["principal"] = token.id
        return None

    async def _audited(self, scope: Scope, receive: Receive, send: Send) -> None:
        statuses: list[int] = []

        async def note_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            state = scope["state"]
            audit.info(
                "operator action",
                extra={
                    "action": f"{scope['method']} {state['route']}",
                    "target": scope["path"],
                    "principal": state["principal"],
                    "remote": client_of(scope),
                    "request_id": state.get("request_id", ""),
                    "status": statuses[0] if statuses else 0,
                },
            )


def _template(routes: list[Route], scope: Scope) -> str:
    """Return the path of the route that will serve a request, as it was written; that of none is its own."""
    partial = ""
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return route.path
        if match is Match.PARTIAL and not partial:
            partial = route.path
    return partial or str(scope["path"])


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response(encode_error(message), status, MutableHeaders(headers or {}), media_type=JSON)
