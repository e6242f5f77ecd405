"""How the server closes: who had connected is answered, on either kind of loop."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest
import uvloop
from tests.integration.http_client import request
from tests.unit.api.test_protocol import post

from gotaskq import TaskQ
from gotaskq.api import closing
from gotaskq.api.closing import Server
from gotaskq.api.listening import bind
from gotaskq.api.security.access import open_access
from gotaskq.api.server import Role, _config

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
PATIENCE_S = 20.0

NewLoop = Callable[[], asyncio.AbstractEventLoop]

pytestmark = pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections linger for as long as a busy machine may need."""
    monkeypatch.setattr(closing, "LINGER_S", PATIENCE_S)


class Served:
    """A server in this process, on a real port."""

    def __init__(self, taskq: TaskQ) -> None:
        self.listener = bind("127.0.0.1", 0)
        self.address = self.listener.getsockname()
        self.server = Server(
            _config(taskq, Role(), open_access(taskq.settings, clock_s=time.monotonic, is_mounted=True))
        )

    async def start(self) -> None:
        self.server.config.load()
        self.server.lifespan = self.server.config.lifespan_class(self.server.config)
        await self.server.startup([self.listener])
        await self.server.on_tick(0)

    def close(self) -> "asyncio.Task[None]":
        return asyncio.ensure_future(self.server.shutdown([self.listener]))

    def is_refusing(self) -> bool:
        try:
            socket.create_connection(self.address).close()
        except ConnectionRefusedError:
            return True
        return False


async def read_to_end(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(PATIENCE_S):
        while piece := await loop.sock_recv(connection, 65_536):
            received += piece
    return received


def test_a_connection_that_nobody_has_accepted_yet_is_answered(new_loop: NewLoop) -> None:
    async def run() -> list[bytes]:
        async with TaskQ() as taskq:
            served = Served(taskq)
            await served.start()
            waiting = [socket.create_connection(served.address) for _ in range(20)]  # the loop has no turn meanwhile
            closed = served.close()
            for connection in waiting:
                connection.sendall(post())
                connection.setblocking(False)
            async with asyncio.timeout(PATIENCE_S):
                answers = [await asyncio.get_running_loop().sock_recv(connection, 65_536) for connection in waiting]
            for connection in waiting:
                connection.close()
            await closed
            return answers

    with asyncio.Runner(loop_factory=new_loop) as runner:
        answers = runner.run(run())

    assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 201 Created"}


def test_an_idle_connection_has_one_more_answer_when_the_port_is_closed(new_loop: NewLoop) -> None:
    async def run() -> tuple[bytes, bytes]:
        async with TaskQ() as taskq:
            served = Served(taskq)
            await served.start()
            loop = asyncio.get_running_loop()
            with socket.create_connection(served.address) as kept:
                kept.setblocking(False)
                await loop.sock_sendall(kept, request("GET", "/healthz"))
                first = await loop.sock_recv(kept, 65_536)
                closed = served.close()
                async with asyncio.timeout(PATIENCE_S):
                    while not served.is_refusing():  # noqa: ASYNC110 - the kernel has no event for this
                        await asyncio.sleep(0.001)
                await loop.sock_sendall(kept, post())
                last = await read_to_end(kept)
                await closed
            return first, last

    with asyncio.Runner(loop_factory=new_loop) as runner:
        first, last = runner.run(run())

    assert b"connection: close" not in first
    assert last.startswith(b"HTTP/1.1 201 ")
    assert b"connection: close" in last


def test_a_connection_that_stays_silent_is_closed_in_the_end(
    new_loop: NewLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "LINGER_S", 0.05)

    async def run() -> bytes:
        async with TaskQ() as taskq:
            served = Served(taskq)
            await served.start()
            with socket.create_connection(served.address) as silent:
                silent.setblocking(False)
                closed = served.close()
                received = await read_to_end(silent)
                await closed
            return received

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(run()) == b""
