"""The hardened protocol over a transport of ours: what it needs of uvicorn, its deadlines.

The harness here also serves the tests of its refusals and of the fast lane.
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gotaskq import TaskQ
from gotaskq.api.protocol import MAX_REQUESTS, HardenedProtocol
from gotaskq.api.security.access import Access
from gotaskq.api.security.hosts import Hosts
from gotaskq.api.security.tokens import TokenSet
from gotaskq.api.server import TRIED_UVICORN, Role, _config
from gotaskq.config import Settings
from gotaskq.testing.clock import FakeClock

TURNS = 10_000  # of the loop, until a test gives up
DATE = b"Mon, 01 Jan 2024 00:00:00 GMT"
GET = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
HEALTHY = b'{"status":"ok"}'

# ---- the harness


class FakeTransport(asyncio.Transport):
    """A transport that keeps what is written, and tells its protocol of the end."""

    def __init__(self, peer: str) -> None:
        super().__init__({"peername": (peer, 50_000), "sockname": ("127.0.0.1", 8080)})
        self.sent = b""
        self.is_reading_paused = False
        self.is_aborted = False
        self.protocol: HardenedProtocol | None = None
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closing:
            self.sent += bytes(data)

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if self.protocol is not None:
                asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.is_aborted = True
        self.close()

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False


class ClockedLoop:
    """The running loop with a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        return self.now_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


def any_access() -> Access:
    """Return the access of a service without tokens that answers to every name."""
    return Access(TokenSet(), Hosts((), is_open=True), clock_s=lambda: 0.0)


class InProcess:
    """A server without sockets: clock and chance are the same in each, so that equal requests get equal bytes."""

    def __init__(self, taskq: TaskQ, access: Access | None = None) -> None:
        self.taskq = taskq
        self.config = _config(taskq, Role(), access or any_access())
        self.config.load()
        self.state = ServerState()
        self.state.default_headers = [(b"date", DATE)]
        self.loop = ClockedLoop()

    def connect(self, *, peer: str = "127.0.0.1") -> tuple[Any, FakeTransport]:
        make = cast("Callable[..., HardenedProtocol]", self.config.http_protocol_class)
        loop = cast("asyncio.AbstractEventLoop", self.loop)
        connection = make(config=self.config, server_state=self.state, app_state={}, _loop=loop)
        connection.access_log = False  # the test runner hears every logger, which must not look like an access log
        transport = FakeTransport(peer)
        transport.protocol = connection
        connection.connection_made(transport)
        return connection, transport

    async def exchange(self, *pieces: bytes) -> FakeTransport:
        """Send the pieces on a connection of their own and return the transport once all is answered."""
        connection, transport = self.connect()
        for piece in pieces:
            connection.data_received(piece)
        await answered(connection)
        return transport

    async def depth(self, queue: str = "default") -> int:
        counts = (await self.taskq.queues())[queue]
        return counts.ready + counts.scheduled


@contextlib.asynccontextmanager
async def in_process(
    *, fast_lane: bool, define: Callable[[TaskQ], object] | None = None, **settings: Any
) -> AsyncIterator[InProcess]:
    chosen = Settings(fast_lane=fast_lane, **settings)
    app = TaskQ("memory://", settings=chosen, clock=FakeClock(), rng=Random(7))
    if define is not None:
        define(app)
    async with app as taskq:
        server = InProcess(taskq)
        yield server
        for connection in list(server.state.connections):
            cast("HardenedProtocol", connection).transport.close()
        await until(lambda: not server.state.connections and not server.state.tasks)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    for _ in range(TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("this never became true")


async def answered(connection: HardenedProtocol) -> None:
    """Let the loop run until nothing that came in whole is without its answer."""
    await until(
        lambda: (
            connection.transport.is_closing()
            or not (connection.is_answering or connection._held or connection._refusal)
        )
    )


def post(body: bytes = b'{"type":"a"}', *, path: bytes = b"/jobs", headers: bytes = b"host: a\r\n") -> bytes:
    return b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (path, headers, len(body), body)


@pytest.fixture
async def server() -> AsyncIterator[InProcess]:
    async with in_process(fast_lane=False) as server:
        yield server


# ---- uvicorn

PROTOCOL_METHODS = [
    "_unset_keepalive_if_required",
    "connection_lost",
    "connection_made",
    "data_received",
    "on_body",
    "on_header",
    "on_headers_complete",
    "on_message_begin",
    "on_message_complete",
    "on_response_complete",
    "on_url",
    "pause_writing",
    "resume_writing",
    "send_400_response",
    "shutdown",
]
CONNECTION_ATTRIBUTES = [
    "access_log",
    "client",
    "connections",
    "cycle",
    "flow",
    "headers",
    "loop",
    "parser",
    "pipeline",
    "server_state",
    "tasks",
    "transport",
    "url",
]


def test_this_is_the_uvicorn_that_was_tried() -> None:
    assert uvicorn.__version__.startswith(TRIED_UVICORN), "try the lane with this uvicorn, then raise TRIED_UVICORN"


@pytest.mark.parametrize("name", PROTOCOL_METHODS)
def test_uvicorn_has_the_method_we_override_or_call(name: str) -> None:
    assert inspect.isfunction(getattr(HttpToolsProtocol, name, None)), f"uvicorn's protocol has no {name}() any more"


@pytest.mark.parametrize("name", CONNECTION_ATTRIBUTES)
async def test_uvicorn_has_the_attribute_we_use(server: InProcess, name: str) -> None:
    connection, _ = server.connect()
    connection.data_received(GET)

    assert getattr(connection, name, None) is not None, f"uvicorn's protocol has no {name} any more"


def test_uvicorn_has_what_surrounds_a_connection() -> None:
    cycle = inspect.signature(RequestResponseCycle.__init__).parameters
    parameters = list(inspect.signature(HttpToolsProtocol.__init__).parameters)

    assert "on_response" in cycle, "uvicorn's cycle does not tell of its response's end any more"
    assert parameters == ["self", "config", "server_state", "app_state", "_loop"], "uvicorn makes protocols differently"
    assert "keep_alive" in cycle, "uvicorn's cycle cannot be told to close the connection any more"
    assert {"response_started", "response_complete"} <= set(RequestResponseCycle.__init__.__code__.co_names)
    assert {"write_paused", "read_paused"} <= set(FlowControl.__init__.__code__.co_names)
    assert all(hasattr(FlowControl, name) for name in ("pause_reading", "resume_reading"))
    assert {"default_headers", "total_requests"} <= set(vars(ServerState())), "uvicorn's server state has changed"
    assert STATUS_LINE[201] == b"HTTP/1.1 201 Created\r\n"
    # A pipelined request waits at the left, the next to be answered is at the right: a refusal takes the last away.
    assert "pipeline.appendleft" in inspect.getsource(HttpToolsProtocol.on_headers_complete)
    assert "pipeline.pop()" in inspect.getsource(HttpToolsProtocol.on_response_complete)
    # Our own parser for a request that wished for an upgrade is made as uvicorn makes it.
    assert "set_dangerous_leniencies(lenient_data_after_close=True)" in inspect.getsource(httptools_impl)


# ---- enough is enough


async def test_the_last_request_a_connection_may_send_closes_it(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.requests = MAX_REQUESTS - 2

    connection.data_received(GET)
    await answered(connection)
    assert not transport.is_closing()
    connection.data_received(GET * 3)
    await answered(connection)

    assert transport.is_closing()
    assert transport.sent.count(b"HTTP/1.1 200 OK") == 2
    assert transport.sent.count(b"connection: close") == 1


async def test_a_connection_that_is_to_end_has_one_more_answer(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(GET)
    await answered(connection)

    connection.end_soon()
    assert not transport.is_closing()
    connection.data_received(GET * 2)
    await answered(connection)

    assert transport.is_closing()
    assert transport.sent.count(b"HTTP/1.1 200 OK") == 2
    assert transport.sent.count(b"connection: close") == 1


async def test_an_answer_under_way_is_the_last_of_a_connection_that_is_to_end(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(GET)

    connection.end_soon()
    await answered(connection)

    assert transport.is_closing()
    assert transport.sent.count(b"connection: close") == 1


def test_uvicorn_has_what_closing_needs() -> None:
    config = uvicorn.Config("x:y")
    assert all(hasattr(config, name) for name in ("http_protocol_class", "lifespan_class")) or not config.loaded
    names = {*uvicorn.Server.startup.__code__.co_names, *uvicorn.Server.shutdown.__code__.co_names}
    assert {"servers", "lifespan", "server_state", "connections", "force_exit"} <= names


# ---- deadlines


def sweep(server: InProcess, connection: HardenedProtocol, *, after_s: float) -> None:
    server.loop.now_s += after_s
    connection.sweep(server.loop.now_s)


async def test_headers_have_ten_seconds_from_their_first_byte(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(GET[:1])

    for byte in GET[1:11]:
        sweep(server, connection, after_s=1)
        connection.data_received(bytes([byte]))
    assert not transport.is_closing()
    sweep(server, connection, after_s=0.1)

    assert transport.sent.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in transport.sent
    assert transport.is_closing()


async def test_a_body_must_come_at_the_least_rate(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(b"POST /jobs HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")

    sweep(server, connection, after_s=5)
    connection.data_received(b" " * 1_024)
    sweep(server, connection, after_s=1)
    assert not transport.is_closing()
    sweep(server, connection, after_s=0.1)

    assert transport.sent.startswith(b"HTTP/1.1 408 ")
    assert await server.depth() == 0


async def test_a_body_has_thirty_seconds_however_fast_it_comes(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(b"POST /jobs HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")

    connection.data_received(b" " * 90_000)
    sweep(server, connection, after_s=30)
    assert not transport.is_closing()
    sweep(server, connection, after_s=0.1)

    assert transport.sent.startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed_without_a_word(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(GET)
    await answered(connection)
    sent = transport.sent

    sweep(server, connection, after_s=30)
    assert not transport.is_closing()
    sweep(server, connection, after_s=0.1)

    assert transport.is_closing()
    assert transport.sent == sent


async def test_who_does_not_read_is_cut_off(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(GET)
    connection.pause_writing()

    sweep(server, connection, after_s=30)
    assert not transport.is_aborted
    sweep(server, connection, after_s=0.1)

    assert transport.is_aborted


async def test_who_reads_again_is_not_cut_off(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.pause_writing()
    connection.resume_writing()

    sweep(server, connection, after_s=30)

    assert not transport.is_aborted


async def test_a_closing_connection_whose_rest_nobody_reads_is_cut_off(server: InProcess) -> None:
    connection, transport = server.connect()
    transport.close()

    for after_s in (1, 30):
        sweep(server, connection, after_s=after_s)
    assert not transport.is_aborted
    sweep(server, connection, after_s=0.1)

    assert transport.is_aborted


async def test_what_we_answer_slowly_is_never_cut(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(GET)

    sweep(server, connection, after_s=10_000)
    await answered(connection)

    assert transport.sent.endswith(HEALTHY)
    assert not transport.is_closing()


async def test_a_slow_second_request_does_not_cost_the_first_its_answer(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(GET + GET[:10])

    sweep(server, connection, after_s=11)
    await answered(connection)

    assert transport.sent.index(HEALTHY) < transport.sent.index(b"HTTP/1.1 408 ")
    assert transport.is_closing()
