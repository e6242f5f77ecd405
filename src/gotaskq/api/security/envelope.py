"""What is around every answer: the id of the request, and errors as RFC 9457 has them for who asks.

The outermost layer of the application. Invariant: a request that asks for neither gets the bytes it always got.
"""

from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gotaskq.api.answers import JSON
from gotaskq.api.security.request_id import chosen_id, request_id

PROBLEM: Final = "application/problem+json"


class Envelope:
    """ASGI: the application, with its answers put into their envelope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; its id goes to the log, to the audit line, and back to who sent one."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent = headers.get("x-request-id", "")
        current = chosen_id(sent)
        scope.setdefault("state", {})["request_id"] = current
        wrapped = _Answer(send, request_id=current, is_shown=bool(sent), as_problem=asks_for_problem(headers))
        token = request_id.set(current)
        try:
            await self._app(scope, receive, wrapped.send)
        finally:
            request_id.reset(token)


class _Answer:
    """One answer on its way."""

    def __init__(self, send: Send, *, request_id: str, is_shown: bool, as_problem: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._is_shown = is_shown
        self._as_problem = as_problem
        self._held: Message | None = None  # the start of an error whose body becomes another one
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if self._is_shown:
                headers["x-request-id"] = self._request_id
            if self._as_problem and message["status"] >= 400 and headers.get("content-type") == JSON:
                self._held = message
                return
        elif self._held is not None:
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            start, self._held = self._held, None
            body = problem_of(start["status"], self._body, request_id=self._request_id)
            message = {**message, "body": body}
            headers = MutableHeaders(scope=start)
            headers["content-type"] = PROBLEM
            headers["content-length"] = str(len(body))
            await self._send(start)
        await self._send(message)


def asks_for_problem(headers: Headers) -> bool:
    """Say whether a client wants its errors so."""
    return PROBLEM in headers.get("accept", "").lower()


def problem_of(status: int, body: bytes, *, request_id: str) -> bytes:
    """Return an error of ours in the words of RFC 9457, with all the members it has otherwise."""
    try:
        said: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        said = {}
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": said.get("error", ""),
    }
    return msgspec.json.encode({**problem, **said, "request_id": request_id})
