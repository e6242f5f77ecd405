"""Clients that are slow on purpose, over real sockets: cut off at their deadline, while a good client is served.

The deadlines are shortened; that each of them is as long as it should be is shown in tests/unit/api/test_protocol.py.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

import pytest
import uvicorn
from tests.unit.api.test_protocol import GET, HEALTHY, InProcess, in_process, post

from gotaskq.api import protocol as limits
from gotaskq.api import server as serving

TIMEOUT_S: Final = 20.0
CLIENTS: Final = 50
HEAD = b"POST /jobs HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n"


class Listening(NamedTuple):
    """A server in this process, on a real socket."""

    server: InProcess
    port: int

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture(params=[True, False], ids=["fast lane", "full way"])
async def listening(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listening]:
    monkeypatch.setattr(serving, "SWEEP_EVERY_S", 0.01)
    async with in_process(fast_lane=request.param) as server:
        make = cast("Callable[..., Any]", server.config.http_protocol_class)

        def connect() -> Any:
            connection = make(config=server.config, server_state=server.state, app_state={})
            connection.access_log = False
            return connection

        stub = cast("uvicorn.Server", SimpleNamespace(server_state=server.state))
        listener = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
        async with asyncio.timeout(TIMEOUT_S), listener, serving._sweeping(stub):
            yield Listening(server, listener.sockets[0].getsockname()[1])


async def drip(listening: Listening, start: bytes, byte: bytes, *, good: asyncio.Event) -> bytes:
    """Send a byte each time the good client was served, and return what the server says before it closes."""
    reader, writer = await listening.open()
    answer = asyncio.create_task(reader.read())
    with contextlib.suppress(ConnectionError):
        writer.write(start)
        while not answer.done():
            await good.wait()
            writer.write(byte)
            await asyncio.sleep(0)
    writer.close()
    try:
        return await answer
    except ConnectionError:  # the last byte met a closed socket
        return b""


async def serve_one(listening: Listening, *, good: asyncio.Event, until_done: asyncio.Future[Any]) -> int:
    """Be a good client until then, and return how often we were served."""
    served = 0
    reader, writer = await listening.open()
    while not until_done.done():
        writer.write(GET + post())
        assert await reader.readuntil(HEALTHY)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
        await reader.readuntil(b"}")
        served += 1
        good.set()
        await asyncio.sleep(0)
        good.clear()
    writer.close()
    return served


@pytest.mark.parametrize(
    ("deadlines", "start", "byte"),
    [
        ({"HEADER_DEADLINE_S": 0.1}, GET[:1], b""),
        ({"HEADER_DEADLINE_S": 0.1}, b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"x"),
        ({"HEADER_DEADLINE_S": 0.1}, GET + b"GET / HTTP/1.1\r\nx: ", b"x"),
        ({"BODY_DEADLINE_S": 0.1}, HEAD, b" "),
        ({"BODY_DEADLINE_S": 0.1}, post()[:-1], b""),
        ({"BODY_GRACE_S": 0.05, "MIN_BODY_RATE": 1 << 30}, HEAD, b" " * 100),
        (
            {"BODY_DEADLINE_S": 0.1},
            b"POST /jobs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            b"1\r\n \r\n",
        ),
    ],
    ids=["first bytes", "header", "second header", "body", "last byte", "rate", "chunks"],
)
async def test_many_slow_clients_are_closed_and_a_good_one_is_served(
    listening: Listening, monkeypatch: pytest.MonkeyPatch, deadlines: dict[str, float], start: bytes, byte: bytes
) -> None:
    for name, value in deadlines.items():
        monkeypatch.setattr(limits, name, value)
    good = asyncio.Event()

    slow = asyncio.gather(*(drip(listening, start, byte, good=good) for _ in range(CLIENTS)))
    served = await serve_one(listening, good=good, until_done=slow)

    answers = [answer for answer in await slow if answer]
    assert all(answer.endswith(limits.TIMED_OUT.body) for answer in answers)
    assert served > 0
    assert await listening.server.depth() == served


async def test_an_idle_client_is_closed(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDLE_S", 0.05)
    reader, writer = await listening.open()
    writer.write(post())

    received = await reader.read()

    assert received.startswith(b"HTTP/1.1 201 ")
    assert received.count(b"HTTP/1.1 ") == 1
    writer.close()


@pytest.mark.slow
async def test_a_client_that_never_reads_is_cut_off(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITE_DEADLINE_S", 0.1)
    loop = asyncio.get_running_loop()
    page = GET.replace(b"healthz", b"metrics")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", listening.port))

        with contextlib.suppress(ConnectionError):
            while True:  # until we are cut off; the listening fixture bounds the time
                await loop.sock_sendall(client, page * 100)

    assert listening.server.state.connections == set()


async def test_a_connection_too_many_is_told_so(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 1)
    first_reader, first = await listening.open()
    first.write(GET)
    await first_reader.readuntil(HEALTHY)

    reader, writer = await listening.open()
    received = await reader.read()

    assert received.startswith(b"HTTP/1.1 503 ")
    assert received.endswith(limits.TOO_MANY_CONNECTIONS.body)
    first.write(GET)
    await first_reader.readuntil(HEALTHY)
    first.close()
    writer.close()
