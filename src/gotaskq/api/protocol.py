"""The HTTP protocol of the server: uvicorn's, with limits and deadlines it does not have.

One small adapter over uvicorn's `HttpToolsProtocol` (the version range is pinned; tests/unit/api/test_protocol.py
names every attribute used here). Limits and their reasons: docs/reference/http-api.md, "Limits".
Invariant: a message that two HTTP parsers could read differently is answered 400 and the connection closed.
"""

import asyncio
import re
from typing import Any, Final, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from gotaskq.api.answers import CLOSE, Answer
from gotaskq.api.long_requests import LongRequests
from gotaskq.api.schemas import encode_error

MAX_REQUEST_LINE_BYTES: Final = 4_096
MAX_HEADER_BYTES: Final = 8_192
MAX_HEADERS_BYTES: Final = 16_384
MAX_HEADERS: Final = 64
MAX_PIPELINED: Final = 32  # answered in order; what comes beyond is not read until they are
MAX_REQUESTS: Final = 10_000  # of one connection; its client comes back, perhaps to another process behind a balancer
MAX_CONNECTIONS: Final = 4_096
MAX_CONNECTIONS_PER_ADDRESS: Final = 256  # loopback exempt: a proxy or a test is one address
MAX_REQUESTS_UNDER_WAY: Final = 1_024
HEADER_DEADLINE_S: Final = 10.0
BODY_DEADLINE_S: Final = 30.0
BODY_GRACE_S: Final = 5.0  # after this a body must have come at MIN_BODY_RATE at least
MIN_BODY_RATE: Final = 1_024  # bytes a second
IDLE_S: Final = 30.0
WRITE_DEADLINE_S: Final = 30.0

FEED_BYTES: Final = 512  # about twenty of the smallest requests: how far one feeding can run beyond MAX_PIPELINED
MAX_HELD_BYTES: Final = 1 << 20

_CONTENT_LENGTH = re.compile(rb"[0-9]{1,15}")

TIMED_OUT: Final = Answer(408, encode_error("the request came too slowly"))
TOO_LONG_A_LINE: Final = Answer(414, encode_error(f"the request line is longer than {MAX_REQUEST_LINE_BYTES} bytes"))
TOO_MANY_HEADERS: Final = Answer(431, encode_error("the headers are too many or too large"))
BAD_REQUEST: Final = Answer(400, encode_error("invalid HTTP request"))
BUSY: Final = Answer(503, encode_error("too many requests at once"), (("retry-after", "1"),))
TOO_MANY_CONNECTIONS: Final = Answer(503, encode_error("too many connections"), (("retry-after", "1"),))


class RefusedError(Exception):
    """Ends the parsing of a request; the answer closes the connection."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class HardenedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 protocol with our limits; deadlines are kept by `sweep`, so a request costs no timer."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._long_requests: LongRequests = app_state.setdefault("long_requests", LongRequests())
        self.was_used = False  # answered something since the last sweep, which notes when
        self.requests = 0  # taken in so far
        self.unanswered = 0  # requests given to the application whose answers are not complete
        self.is_in_message = False  # between the first byte of a request and its last
        self._has_headers = False
        self._header_bytes = 0
        self._body_left = 0
        self._body_bytes = 0
        self._is_awaiting_body = False  # outside the parser
        self._is_upgrade = False
        self._held = b""  # came in, and is not given to the parser yet
        self._mute_bytes = 0  # given to the parser since it last told us anything: it keeps an unfinished header
        self._refusal: Answer | None = None  # to be sent when the requests before it are answered
        self._since_s = 0.0  # when the present wait began: for a request, its headers, its body, or a reader
        self._write_blocked_s: float | None = None
        self._closing_s: float | None = None  # since when a sweep has seen this connection closing

    # -- the transport's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection, or refuse it when there are too many."""
        super().connection_made(transport)
        self._since_s = self.loop.time()
        if len(self.connections) > MAX_CONNECTIONS or self._is_address_crowded():
            self._refuse(TOO_MANY_CONNECTIONS)

    def data_received(self, data: bytes) -> None:
        """Parse what came in, up to the pipelining limit; hold the rest back until answers have gone out."""
        if self.transport.is_closing() or self._refusal is not None:
            return
        self._held = self._held + data if self._held else data
        self._feed()

    def pause_writing(self) -> None:
        """Note since when the client does not read."""
        super().pause_writing()
        self._write_blocked_s = self.loop.time()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        self._write_blocked_s = None

    def sweep(self, now_s: float) -> None:
        """Close this connection if a deadline of it has passed; the server calls this about once a second."""
        if self.was_used:
            self.was_used = False
            if not self.is_in_message and not self._is_awaiting_body:
                self._since_s = now_s
        if self._write_blocked_s is not None and now_s - self._write_blocked_s > WRITE_DEADLINE_S:
            self.transport.abort()
        elif self.transport.is_closing():  # what is left to write may be too little to count as blocked
            self._closing_s = now_s if self._closing_s is None else self._closing_s
            if now_s - self._closing_s > WRITE_DEADLINE_S:
                self.transport.abort()
        elif self.is_answering:
            pass
        elif not self.is_in_message and not self._is_awaiting_body:
            if now_s - self._since_s > IDLE_S:
                self.transport.close()
        elif self._is_too_slow(now_s - self._since_s):
            self._refuse(TIMED_OUT)

    def end_soon(self) -> None:
        """Let the next answer be the last of this connection, or the one under way if there is one."""
        self.requests = max(self.requests, MAX_REQUESTS - 1)
        if self.unanswered:
            self.cycle.keep_alive = False

    @property
    def is_answering(self) -> bool:
        """Whether a request is complete and its answer is not."""
        return self.unanswered > 0 and not self.is_in_message

    def await_body(self, received: int) -> None:
        """Hear that somebody else waits for a request's body, of which so much is here."""
        if not self._is_awaiting_body:
            self._is_awaiting_body = True
            self._since_s = self.loop.time()
        self._body_bytes = received

    # -- feeding the parser ------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        while self._held and not self.transport.is_closing():
            if len(self.pipeline) >= MAX_PIPELINED or self.is_waiting_for_turn:
                self.flow.pause_reading()
                if len(self._held) > MAX_HELD_BYTES:
                    self._refuse(BUSY)
                return
            # A body of known length cannot hide a further request, so it goes in one piece.
            size = max(FEED_BYTES, self._body_left)
            piece, self._held = self._held[:size], self._held[size:]
            self._mute_bytes += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                self._parse_without_upgrade(piece[upgrade.args[0] :])
            except httptools.HttpParserError as error:  # around a RefusedError, when a callback of ours raised it
                refused = error.__context__
                self._refuse(refused.answer if isinstance(refused, RefusedError) else BAD_REQUEST)
            else:
                if self._mute_bytes > MAX_HEADER_BYTES + FEED_BYTES:
                    self._refuse(TOO_MANY_HEADERS)

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Parse a request again without its wish for another protocol: the parser would pass over its body."""
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                kept = [token for token in value.split(b",") if token.strip().lower() != b"upgrade"]
                lines.extend([b"connection: %b\r\n" % b",".join(kept)] if kept else [])
            elif name != b"upgrade":
                lines.append(b"%b: %b\r\n" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn makes it
        self._held = b"".join([*lines, b"\r\n", rest, self._held])

    def on_response_complete(self) -> None:
        """Go on with what was held back."""
        super().on_response_complete()
        self.unanswered -= 1
        self._unset_keepalive_if_required()  # `sweep` closes idle connections, without a timer for each
        self._since_s = self.loop.time()
        self._go_on()

    def _go_on(self) -> None:
        """Parse what was held back while an answer was outstanding, or refuse what was to be refused after it."""
        if self.transport.is_closing():
            return
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._held:
            self.flow.resume_reading()
            self.loop.call_soon(self._feed)

    @property
    def is_waiting_for_turn(self) -> bool:
        """Whether an answer from outside the parser is outstanding, which the parser's must not overtake."""
        return False

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with our error object."""
        self._refuse(BAD_REQUEST)

    def _refuse(self, answer: Answer) -> None:
        """Answer and close, once the requests before this one are answered; one that has an answer gets no second."""
        self._held = b""
        has_cycle = self.is_in_message and self._has_headers
        is_counted = has_cycle and not self.cycle.response_complete
        if self.unanswered > is_counted or self.is_waiting_for_turn:
            if is_counted:  # it waits for its turn, which will not come
                self.pipeline.popleft()
                self.unanswered -= 1
            self.is_in_message = False
            self._refusal = answer
            self.flow.pause_reading()
            return
        if not self.transport.is_closing() and not (has_cycle and self.cycle.response_started):
            self.transport.write(render(answer, self.server_state.default_headers, close=True))
        self.transport.close()

    # -- the parser's callbacks --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request: its headers have a deadline from here."""
        super().on_message_begin()
        self.is_in_message = True
        self._is_awaiting_body = False
        self._has_headers = False
        self._is_upgrade = False
        self._mute_bytes = self._header_bytes = self._body_left = self._body_bytes = 0
        self._since_s = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        super().on_url(url)
        self._mute_bytes = 0
        if len(self.url) > MAX_REQUEST_LINE_BYTES:
            raise RefusedError(TOO_LONG_A_LINE)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._mute_bytes = 0
        size = len(name) + len(value)
        self._header_bytes += size
        if size > MAX_HEADER_BYTES or self._header_bytes > MAX_HEADERS_BYTES or len(self.headers) > MAX_HEADERS:
            raise RefusedError(TOO_MANY_HEADERS)

    def on_headers_complete(self) -> None:
        """Refuse what parsers disagree about; begin the body's deadline."""
        body_bytes = self._framed_length()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RefusedError(BAD_REQUEST)
            self._is_upgrade = True
            return
        self._body_left = body_bytes
        if len(self.tasks) - self._long_requests.count >= MAX_REQUESTS_UNDER_WAY:
            raise RefusedError(BUSY)
        super().on_headers_complete()
        self.unanswered += 1
        self.requests += 1
        if self.requests >= MAX_REQUESTS:
            self.cycle.keep_alive = False
        self._has_headers = True
        self._since_s = self.loop.time()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        super().on_body(body)
        self._mute_bytes = 0
        self._body_left = max(0, self._body_left - len(body))
        self._body_bytes += len(body)

    def on_message_complete(self) -> None:
        """End a request: what runs now is our own time."""
        if self._is_upgrade:
            return
        super().on_message_complete()
        self.is_in_message = False
        self._since_s = self.loop.time()

    def _framed_length(self) -> int:
        """Return the announced length of the body, 0 for none or chunks; refuse any doubt about its end (RFC 9112)."""
        names = [name for name, _ in self.headers]
        lengths = [value for name, value in self.headers if name == b"content-length"]
        encodings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        hosts = names.count(b"host")
        if self.parser.get_http_version() not in ("1.0", "1.1") or hosts > 1:
            raise RefusedError(BAD_REQUEST)
        if hosts == 0 and self.parser.get_http_version() == "1.1":
            raise RefusedError(BAD_REQUEST)
        if encodings and (encodings != [b"chunked"] or lengths or self.parser.get_http_version() != "1.1"):
            raise RefusedError(BAD_REQUEST)
        if len(lengths) > 1 or (lengths and _CONTENT_LENGTH.fullmatch(lengths[0]) is None):
            raise RefusedError(BAD_REQUEST)
        return int(lengths[0]) if lengths else 0

    def _is_too_slow(self, waited_s: float) -> bool:
        if not self._has_headers and not self._is_awaiting_body:
            return waited_s > HEADER_DEADLINE_S
        is_below_rate = waited_s > BODY_GRACE_S and self._body_bytes < MIN_BODY_RATE * (waited_s - BODY_GRACE_S)
        return waited_s > BODY_DEADLINE_S or is_below_rate

    def _is_address_crowded(self) -> bool:
        if self.client is None or self.client[0] in ("127.0.0.1", "::1"):
            return False
        connections = cast("set[HttpToolsProtocol]", self.connections)
        address = self.client[0]
        return sum(other.client is not None and other.client[0] == address for other in connections) > (
            MAX_CONNECTIONS_PER_ADDRESS
        )


def render(answer: Answer, default_headers: list[tuple[bytes, bytes]], *, close: bool = False) -> bytes:
    """Return an answer as it goes over the wire, headers in the order of the ASGI lane."""
    lines = [STATUS_LINE[answer.status]]
    lines.extend(b"%b: %b\r\n" % header for header in default_headers)
    lines.extend(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in answer.headers)
    lines.append(b"content-length: %d\r\ncontent-type: application/json\r\n" % len(answer.body))
    if close and CLOSE not in answer.headers:
        lines.append(b"connection: close\r\n")
    return b"".join([*lines, b"\r\n", answer.body])
