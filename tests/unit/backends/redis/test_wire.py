"""The wire: every call is answered once, in order, whatever callers and servers do."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from gotaskq.backends.redis.wire import RefusedError, Wire, open_wire


class Server:
    """Takes calls and answers when told to."""

    def __init__(self) -> None:
        self.port = 0
        self._came: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def connected(self) -> asyncio.StreamWriter:
        return await self._came.get()

    async def serve(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._came.put_nowait(writer)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    serving = Server()
    async with await asyncio.start_server(serving.serve, "127.0.0.1", 0) as listening:
        serving.port = listening.sockets[0].getsockname()[1]
        yield serving


@pytest.fixture
async def wire(server: Server) -> AsyncIterator[Wire]:
    opened = await open_wire("127.0.0.1", server.port, tls=None, greeting=(), timeout_s=30)
    yield opened
    opened.give_up()
    await opened.close()


async def test_answers_go_to_their_callers_in_order(server: Server, wire: Wire) -> None:
    first, second = wire.call(("GET", "a")), wire.call(("GET", 1))
    peer = await server.connected()

    peer.write(b"$1\r\nx\r\n:7\r\n")

    assert (await first, await second) == (b"x", 7)
    peer.close()


async def test_a_caller_that_went_away_shifts_nobodys_answer(server: Server, wire: Wire) -> None:
    gone, here = wire.call(("GET", "a")), wire.call(("GET", "b"))
    peer = await server.connected()
    gone.cancel()

    peer.write(b"+for the one who left\r\n+for the one who stayed\r\n")

    assert await here == b"for the one who stayed"
    peer.close()


async def test_a_refusal_is_an_error_with_a_code(server: Server, wire: Wire) -> None:
    call = wire.call(("EVALSHA", "f00"))
    peer = await server.connected()

    peer.write(b"-NOSCRIPT No matching script.\r\n")

    with pytest.raises(RefusedError) as refused:
        await call
    assert refused.value.code == "NOSCRIPT"
    peer.close()


async def test_a_lost_connection_answers_everybody(server: Server, wire: Wire) -> None:
    calls = [wire.call(("PING",)) for _ in range(3)]
    peer = await server.connected()

    peer.close()

    for call in calls:
        with pytest.raises(ConnectionResetError):
            await call
    with pytest.raises(ConnectionResetError):
        await wire.call(("PING",))
    assert not wire.is_open


async def test_what_is_overheard_is_heard_as_it_comes(server: Server, wire: Wire) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()
    wire.overhear(heard.put_nowait)
    peer = await server.connected()

    peer.write(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")

    assert await heard.get() == [b"pong", b""]
    peer.close()
    assert await wire.is_lost_within(30)


async def test_a_greeting_that_is_cut_off_leaves_no_error_that_nobody_asks_for(server: Server) -> None:
    left: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context["message"]))
    greeting = (("AUTH", "jobs", "s3cret"), ("SELECT", 2), ("CLIENT", "SETNAME", "gotaskq"))
    opening = asyncio.create_task(open_wire("127.0.0.1", server.port, tls=None, greeting=greeting, timeout_s=30))
    peer = await server.connected()

    peer.close()

    with pytest.raises(ConnectionResetError):
        await opening
    del opening
    gc.collect()
    assert left == []


async def test_a_greeting_that_is_refused_opens_nothing(server: Server) -> None:
    opening = asyncio.create_task(
        open_wire("127.0.0.1", server.port, tls=None, greeting=(("AUTH", "wrong"),), timeout_s=30)
    )
    peer = await server.connected()

    peer.write(b"-WRONGPASS invalid username-password pair\r\n")

    with pytest.raises(RefusedError):
        await opening
    peer.close()
