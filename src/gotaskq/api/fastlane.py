"""The fast lane: answers the two hot requests, `POST /jobs` and `POST /{queue}/jobs`, inside the protocol.

No ASGI scope, no task, no route match; decoding, admission and encoding are the same functions as in the full way.
Invariant: the lane takes only requests that are plain beyond doubt and falls through on everything else, so it may be
stricter than the full way and is never more lenient. Answers leave in the order of the requests.

Clients send the same header block again and again, so a block is judged once: `verdicts` remembers, for the exact
bytes of a block, where its job goes and how long its body is (benchmarks/questions/http_ingestion.py).
"""

import asyncio
import re
from typing import Any, Final, NamedTuple

from uvicorn.config import Config
from uvicorn.server import ServerState

from gotaskq.api.answers import CLOSE, JSON, Answer
from gotaskq.api.frames import Frames
from gotaskq.api.protocol import MAX_REQUESTS, HardenedProtocol, render
from gotaskq.api.schemas import MAX_BODY_BYTES
from gotaskq.api.security.access import Access
from gotaskq.api.security.tokens import Scope
from gotaskq.api.submit import submit, submit_now
from gotaskq.app import TaskQ
from gotaskq.errors import InvalidRequestError
from gotaskq.names import check_queue_name

BLOCK_END: Final = b"\r\n\r\n"
MAX_BLOCK_BYTES: Final = 2_048  # a plain client's headers are far below; larger ones take the full way
MAX_VERDICTS: Final = 1_024  # with their blocks at most 2 MiB; forgotten all at once when full
PROBLEM: Final = b"problem+json"
MAX_AWAITED_BYTES: Final = 65_536  # a body that is still coming is waited for here up to this size

# Header names are tokens, values visible characters and spaces; RFC 9110 allows more in values, we do not; the full way
# refuses a length with a space or a tab behind it.
_BLOCK = re.compile(
    rb"POST (/jobs|/[A-Za-z0-9._-]{1,64}/jobs) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}:[\x20-\x7e]*\r\n){1,32})\r\n"
)
_LENGTH = re.compile(rb"[0-9]{1,7}")

# What needs the full way: framing, negotiation, browsers, idempotency, waiting, tracing, ids.
NOT_PLAIN: Final = frozenset(
    {
        b"content-encoding",
        b"expect",
        b"idempotency-key",
        b"origin",
        b"prefer",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"te",
        b"traceparent",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    }
)


class Verdict(NamedTuple):
    """What a plain header block says: the queue, how many bytes of body follow, and who sends them."""

    queue: str | None
    body_bytes: int
    principal: str = ""


class FastLane:
    """What all connections of a server share: the app, and what is known of header blocks and bodies."""

    def __init__(self, taskq: TaskQ, access: Access) -> None:
        self._access = access
        access.on_change(lambda: self.verdicts.clear())
        self.door = taskq.door
        self.is_immediate = taskq.door.is_immediate
        self.frames = Frames(taskq.door)
        self.verdicts: dict[bytes, Verdict] = {}
        self._dated: list[tuple[bytes, bytes]] | None = None
        self._created_heads: dict[int, bytes] = {}

    def judge(self, block: bytes) -> Verdict | None:
        """Return what a header block (without the empty line behind it) says if it is plain, else None."""
        if len(block) > MAX_BLOCK_BYTES:
            return None
        if len(self.verdicts) >= MAX_VERDICTS:
            self.verdicts.clear()
        verdict = _judge(block + BLOCK_END, self._access)
        if verdict is not None:
            self.verdicts[block] = verdict
        return verdict

    def render(self, answer: Answer, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the answer's bytes; the head of a 201 is put together once for a length, until the date changes."""
        if answer.status != 201 or answer.headers:
            return render(answer, default_headers)
        if default_headers is not self._dated or len(self._created_heads) >= MAX_VERDICTS:
            self._dated = default_headers
            self._created_heads.clear()
        body = answer.body
        head = self._created_heads.get(len(body))
        if head is None:
            head = self._created_heads[len(body)] = render(answer, default_headers)[: -len(body)]
        return head + body


class FastLaneProtocol(HardenedProtocol):
    """The hardened protocol with the lane before it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        lane: FastLane,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._lane = lane
        self._awaited = b""  # a plain request whose body is still coming
        self._awaited_bytes = 0  # how long it will be
        self._submitting: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Answer what the lane takes; give the rest to the parser."""
        if self._awaited:
            if self.transport.is_closing():  # its deadline has passed
                return
            data, self._awaited = self._awaited + data, b""
            self._is_awaiting_body = len(data) < self._awaited_bytes  # or its deadline would begin anew
        lane = self._lane
        while self._is_free():
            block, end, rest = data.partition(BLOCK_END)
            verdict = (lane.verdicts.get(block) or lane.judge(block)) if end else None
            if verdict is None:
                break
            queue, body_bytes, principal = verdict
            if len(rest) < body_bytes:
                if body_bytes > MAX_AWAITED_BYTES:
                    break
                self._awaited_bytes = len(data) - len(rest) + body_bytes
                self._await_body(data, received=len(rest))
                return
            body, data = (rest, b"") if len(rest) == body_bytes else (rest[:body_bytes], rest[body_bytes:])
            answer = submit_now(lane.door, lane.frames, body, queue) if lane.is_immediate else None
            if answer is not None:
                self._write(answer)
            else:
                self._submitting = self.loop.create_task(self._submit_and_write(queue, body, principal))
            if not data:
                return
        super().data_received(data)

    @property
    def is_answering(self) -> bool:
        """Whether a request is complete and its answer is not."""
        return self._submitting is not None or super().is_answering

    @property
    def is_waiting_for_turn(self) -> bool:
        """Whether an answer from outside the parser is outstanding, which the parser's must not overtake."""
        return self._submitting is not None

    def end_soon(self) -> None:
        """Let the full way have a request whose body is still coming: there it counts as under way."""
        super().end_soon()
        data, self._awaited = self._awaited, b""
        if data:
            super().data_received(data)

    def shutdown(self) -> None:
        """Close once what is under way has been answered."""
        if self._submitting is None:
            super().shutdown()
        else:
            self._submitting.add_done_callback(lambda _: self.transport.close())

    def _is_free(self) -> bool:
        """Say whether the next bytes begin a request and nothing stands before its answer."""
        return not (
            self.is_in_message
            or self.unanswered
            or self._held
            or self.transport.is_closing()
            or self._submitting is not None
            or self.flow.write_paused
            or self.access_log
            or self.requests >= MAX_REQUESTS - 1  # the last one closes the connection, and that the full way does
        )

    def _await_body(self, data: bytes, *, received: int) -> None:
        self._awaited = data
        self.await_body(received)

    async def _submit_and_write(self, queue: str | None, body: bytes, principal: str) -> None:
        answer = await submit(self._lane.door, body, queue, principal=principal)
        self._submitting = None
        if not self.transport.is_closing():  # who has gone loses the answer, not the job
            self._write(answer)
            self._go_on()

    def _write(self, answer: Answer) -> None:
        is_last = CLOSE in answer.headers or self.requests >= MAX_REQUESTS - 1
        if is_last:
            self.transport.write(render(answer, self.server_state.default_headers, close=True))
            self.transport.close()
        else:
            self.transport.write(self._lane.render(answer, self.server_state.default_headers))
        self.server_state.total_requests += 1
        self.requests += 1
        self.was_used = True


def _judge(block: bytes, access: Access) -> Verdict | None:
    request = _BLOCK.fullmatch(block)
    if request is None:
        return None
    headers: dict[bytes, bytes] = {}
    for line in request[2].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in headers or name in NOT_PLAIN:
            return None
        headers[name] = value.lstrip(b" ")
    length = headers.get(b"content-length", b"")
    media_type = headers.get(b"content-type", JSON.encode()).partition(b";")[0].strip().lower()
    host = headers.get(b"host", b"")
    principal = _submitter(headers.get(b"authorization"), access)
    is_plain = (
        bool(host)
        and access.hosts.admits(host.decode())
        and PROBLEM not in headers.get(b"accept", b"").lower()
        and _LENGTH.fullmatch(length) is not None
        and int(length) <= MAX_BODY_BYTES
        and media_type == JSON.encode()
        and headers.get(b"connection", b"keep-alive").lower() == b"keep-alive"
    )
    if not is_plain or principal is None:
        return None
    try:
        return Verdict(_queue_of(request[1].decode()), int(length), principal)
    except InvalidRequestError:
        return None


def _submitter(authorization: bytes | None, access: Access) -> str | None:
    """Return who stores a job, if they may beyond doubt; one who may not is counted and refused the full way."""
    if not access.has_tokens:
        return ""
    token = access.find((authorization or b"").decode())
    return token.id if token is not None and token.allows(Scope.SUBMIT) else None


def _queue_of(path: str) -> str | None:
    """Return the queue `/{queue}/jobs` names; None for `/jobs`, whose body may name one."""
    return None if path == "/jobs" else check_queue_name(path.split("/")[1])
