"""Refusals, over a transport of ours: in order, at most one answer for a request, and within bounded memory."""

from collections.abc import AsyncIterator

import pytest
from tests.unit.api.test_protocol import GET, HEALTHY, InProcess, in_process, post, until

from gotaskq.api import protocol as limits

BAD = b"GET /healthz HTTP/1.1\r\nhost : a\r\n\r\n"


@pytest.fixture(params=[True, False], ids=["fast lane", "full way"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[InProcess]:
    async with in_process(fast_lane=request.param) as server:
        yield server


# ---- refusals and order


@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize(
    "bad", [BAD, BAD[:-4], b"POST /jobs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nz"]
)
async def test_a_refusal_waits_for_the_answers_before_it(server: InProcess, count: int, bad: bytes) -> None:
    transport = await server.exchange(GET * count + bad + GET)

    await until(transport.is_closing)

    assert transport.sent.count(HEALTHY) == count
    assert transport.sent.count(b"HTTP/1.1 ") == count + 1
    assert transport.sent.endswith(limits.BAD_REQUEST.body)


async def test_a_request_that_has_its_answer_gets_no_second(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(b"POST /nothing HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    await until(lambda: transport.sent.endswith(b'{"error":"not found"}'))

    connection.data_received(b"no chunk\r\n")

    assert transport.sent.count(b"HTTP/1.1 ") == 1
    assert transport.is_closing()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_wish_for_an_upgrade_is_passed_over(server: InProcess, method: bytes) -> None:
    padded = b'{"type":"a"' + b" " * 600 + b"}"  # longer than one feeding
    head = b"%b %b HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
    wish = post(padded).replace(b"host", b"connection: Upgrade\r\nupgrade: h2c\r\nhost")
    if method == b"GET":
        wish = head % (b"GET", b"/healthz") + b"\r\n"

    transport = await server.exchange(wish + GET)

    assert transport.sent.count(b"HTTP/1.1 ") == 2
    assert transport.sent.endswith(HEALTHY)
    assert await server.depth() == (method == b"POST")


@pytest.mark.parametrize(
    ("start", "drip"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"a" * 512),
        (b"GET / HTTP/1.1\r\nhost: a\r\n", b"a" * 512),
        (b"POST /jobs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ", b"a" * 512),
        (b"POST /jobs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;", b"a" * 512),
    ],
    ids=["header value", "header name", "trailer", "chunk extension"],
)
async def test_what_never_ends_is_refused_before_it_fills_the_memory(
    server: InProcess, start: bytes, drip: bytes
) -> None:
    connection, transport = server.connect()
    connection.data_received(start)

    for _ in range(19):
        connection.data_received(drip)

    assert transport.sent.startswith(b"HTTP/1.1 431 ")
    assert transport.is_closing()


# ---- connections and load


async def test_a_connection_too_many_is_refused(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 1)
    _, first = server.connect()

    _, second = server.connect()

    assert not first.is_closing()
    assert second.sent.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in second.sent
    assert second.is_closing()


@pytest.mark.parametrize(("peer", "is_refused"), [("192.0.2.1", True), ("127.0.0.1", False), ("::1", False)])
async def test_one_address_has_its_share_of_connections(
    server: InProcess, monkeypatch: pytest.MonkeyPatch, peer: str, is_refused: bool
) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS_PER_ADDRESS", 2)
    transports = [server.connect(peer=peer)[1] for _ in range(3)]

    assert [transport.is_closing() for transport in transports] == [False, False, is_refused]
    assert not server.connect(peer="192.0.2.2")[1].is_closing()


async def test_too_many_requests_under_way_are_refused(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_REQUESTS_UNDER_WAY", 1)
    server.connect()[0].data_received(GET)

    connection, transport = server.connect()
    connection.data_received(GET)

    assert transport.sent.startswith(b"HTTP/1.1 503 ")
    assert transport.sent.endswith(limits.BUSY.body)
