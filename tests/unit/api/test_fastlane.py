"""The fast lane: it takes what is plain beyond doubt and nothing else, and its answers keep their order."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from tests.unit.api.test_protocol import GET, HEALTHY, InProcess, answered, any_access, in_process, post, until

from gotaskq.api import fastlane
from gotaskq.api.answers import Answer
from gotaskq.api.fastlane import MAX_BLOCK_BYTES, MAX_VERDICTS, NOT_PLAIN, FastLane, Verdict, _judge
from gotaskq.api.protocol import MAX_REQUESTS
from gotaskq.api.schemas import MAX_BODY_BYTES
from gotaskq.engine.admission import Admission
from gotaskq.job import Job

CREATED = b"HTTP/1.1 201 "


def block(*lines: str, line: str = "POST /jobs HTTP/1.1", length: str = "content-length: 2") -> bytes:
    return "".join(f"{text}\r\n" for text in (line, "host: a", length, *lines) if text).encode("latin-1") + b"\r\n"


@pytest.fixture
async def server() -> AsyncIterator[InProcess]:
    async with in_process(fast_lane=True) as server:
        yield server


# ---- what is plain

PLAIN = [
    (block(), Verdict(None, 2)),
    (block(length="Content-Length:2"), Verdict(None, 2)),
    (block(length="content-length:  2"), Verdict(None, 2)),
    (block(length="content-length: 0"), Verdict(None, 0)),
    (block(length=f"content-length: {MAX_BODY_BYTES}"), Verdict(None, MAX_BODY_BYTES)),
    (block(line="POST /mail/jobs HTTP/1.1"), Verdict("mail", 2)),
    (block(line="POST /MAIL/jobs HTTP/1.1"), Verdict("mail", 2)),
    (block(line="POST /default/jobs HTTP/1.1"), Verdict("default", 2)),
    (block(line=f"POST /{'q' * 64}/jobs HTTP/1.1"), Verdict("q" * 64, 2)),
    (block("content-type: application/json"), Verdict(None, 2)),
    (block("Content-Type: Application/JSON; charset=utf-8"), Verdict(None, 2)),
    (block("connection: Keep-Alive"), Verdict(None, 2)),
    (block("user-agent: curl/8", "accept: */*", "authorization: Bearer x", "x-a:"), Verdict(None, 2)),
    (block(*(f"x-{number}: 1" for number in range(30))), Verdict(None, 2)),
]
NOT = [
    block("transfer-encoding: chunked"),
    block("transfer-encoding: chunked", length=""),
    block("content-length: 2"),
    block("content-length: 3"),
    block(length=""),
    *(block(length=f"content-length: {value}") for value in ("", "-2", "+2", "0x2", "2,2", "2 2", "2.0", "1e1", "²")),
    block(length=f"content-length: {MAX_BODY_BYTES + 1}"),
    block(length="content-length: 00000002"),
    block(length="content-length: 2\t"),
    block(length="content-length: 2 "),
    block("x: a\tb"),
    block(length=f"content-length: {'9' * 40}"),
    *(block(f"{name.decode()}: x") for name in sorted(NOT_PLAIN)),
    *(block(f"{name.decode().title()}:") for name in sorted(NOT_PLAIN)),
    *(block(f"content-type: {value}") for value in ("", "text/plain", "application/jsonx", "multipart/form-data")),
    *(block(f"connection: {value}") for value in ("close", "upgrade", "keep-alive, te", "")),
    block("x-a: 1", "X-A: 2"),
    block("host: a"),
    block().replace(b"host: a\r\n", b""),
    block().replace(b"host: a\r\n", b"host: \r\n"),
    block().replace(b"host:", b"host :"),
    block().replace(b"host:", b" host:"),
    block("x: 1", " folded"),
    block("x: 1", "\tfolded"),
    block("x: \x00"),
    block("x: \x01"),
    block("x: \x7f"),
    block("x: \xe9"),
    block("x: a\rb"),
    block("x: a\nb"),
    block("x"),
    block(": x"),
    block('x"y: 1'),
    block("x(y): 1"),
    block("\xe9: 1"),
    block(f"{'n' * 65}: 1"),
    block(*(f"x-{number}: 1" for number in range(31))),
    block().replace(b"\r\n", b"\n"),
    block().replace(b"\r\nhost", b"\nhost"),
    block()[:-2] + b"\n",
    block()[:-1],
    b"\r\n" + block(),
    b" " + block(),
    block() + b"{}",
    b"",
    b"\r\n\r\n",
    *(
        block(line=line)
        for line in (
            "POST /jobs HTTP/1.0",
            "POST /jobs HTTP/1.2",
            "POST /jobs HTTP/2.0",
            "POST /jobs http/1.1",
            "POST /jobs",
            "POST  /jobs HTTP/1.1",
            "POST /jobs  HTTP/1.1",
            "POST\t/jobs HTTP/1.1",
            "POST /jobs HTTP/1.1 ",
            "post /jobs HTTP/1.1",
            "GET /jobs HTTP/1.1",
            "PUT /jobs HTTP/1.1",
            "POST /jobs? HTTP/1.1",
            "POST /jobs?a=b HTTP/1.1",
            "POST /jobs#a HTTP/1.1",
            "POST /jobs/ HTTP/1.1",
            "POST /jobs/batch HTTP/1.1",
            "POST //jobs HTTP/1.1",
            "POST /a/b/jobs HTTP/1.1",
            "POST /a%62/jobs HTTP/1.1",
            "POST http://a/jobs HTTP/1.1",
            "POST jobs HTTP/1.1",
            "POST * HTTP/1.1",
            "POST /queue/jobs HTTP/1.1",
            "POST /Queue/jobs HTTP/1.1",
            "POST /v1/jobs HTTP/1.1",
            "POST /./jobs HTTP/1.1",
            "POST /../jobs HTTP/1.1",
            f"POST /{'q' * 65}/jobs HTTP/1.1",
            "POST /\xe9/jobs HTTP/1.1",
        )
    ),
]


@pytest.mark.parametrize(("head", "verdict"), PLAIN)
def test_a_plain_block_is_taken(head: bytes, verdict: Verdict) -> None:
    assert _judge(head, any_access()) == verdict


@pytest.mark.parametrize("head", NOT)
def test_anything_unusual_is_left_to_the_full_way(head: bytes) -> None:
    assert _judge(head, any_access()) is None


async def test_verdicts_are_remembered_within_bounds(server: InProcess) -> None:
    lane = FastLane(server.taskq, any_access())

    for number in range(MAX_VERDICTS + 10):
        assert lane.judge(block(f"x: {number}").removesuffix(b"\r\n\r\n")) is not None
        assert lane.judge(block(f"x: {number}", "te: x").removesuffix(b"\r\n\r\n")) is None
        assert len(lane.verdicts) <= MAX_VERDICTS

    assert len(lane.verdicts) == 10


async def test_a_block_that_is_large_takes_the_full_way(server: InProcess) -> None:
    request = post(headers=b"host: a\r\nx: %b\r\n" % (b"x" * MAX_BLOCK_BYTES))
    connection, transport = server.connect()

    connection.data_received(request)
    assert transport.sent == b""
    await answered(connection)

    assert transport.sent.startswith(CREATED)
    assert connection._lane.verdicts == {}


async def test_the_last_request_a_connection_may_send_takes_the_full_way_which_closes(server: InProcess) -> None:
    connection, transport = server.connect()

    for _ in range(MAX_REQUESTS - 1):
        connection.data_received(post())
    in_the_lane = transport.sent.count(CREATED)
    connection.data_received(post() + post())
    await answered(connection)

    assert in_the_lane == MAX_REQUESTS - 1
    assert transport.sent.count(CREATED) == MAX_REQUESTS
    assert transport.sent.count(b"connection: close") == 1
    assert transport.is_closing()


# ---- in pieces


async def test_a_request_may_be_split_anywhere(server: InProcess) -> None:
    request = post(b'{"type":"a","payload":[1]}')

    for cut in range(1, len(request)):
        transport = await server.exchange(request[:cut], request[cut:])
        assert transport.sent.count(b"HTTP/1.1 ") == transport.sent.count(CREATED) == 1, cut

    assert await server.depth() == len(request) - 1


async def test_a_request_may_come_byte_by_byte(server: InProcess) -> None:
    request = post() + GET + post()

    transport = await server.exchange(*(bytes([byte]) for byte in request))

    assert transport.sent.count(CREATED) == 2
    assert await server.depth() == 2


async def test_a_large_body_that_is_still_coming_takes_the_full_way(server: InProcess) -> None:
    request = post(b'{"type":"a","payload":"%b"}' % (b"x" * 100_000))

    transport = await server.exchange(request[:1_000], request[1_000:50_000], request[50_000:] + post())

    assert transport.sent.count(CREATED) == 2


# ---- in order


async def test_plain_requests_in_one_piece_are_answered_in_order(server: InProcess) -> None:
    connection, transport = server.connect()

    connection.data_received(b"".join(post(b'{"type":"t%d"}' % number) for number in range(100)))

    places = [transport.sent.index(b'"type":"t%d"' % number) for number in range(100)]
    assert places == sorted(places)
    assert server.state.total_requests == 100


@pytest.mark.parametrize("size", [1, 7, 60, 511, 512, 513, 100_000])
async def test_both_lanes_keep_the_order_on_one_connection(server: InProcess, size: int) -> None:
    plain, unusual = post(), post(b'{"type":"b"}', headers=b"host: a\r\nte: trailers\r\n")
    requests = [plain, GET, plain, unusual, unusual, plain, GET, GET, plain] * 5
    sent = b"".join(requests)
    connection, transport = server.connect()

    for start in range(0, len(sent), size):
        connection.data_received(sent[start : start + size])
        if start % 3 == 0:
            await asyncio.sleep(0)
    await answered(connection)

    answers = [body.rpartition(b"\r\n\r\n")[2] for body in transport.sent.split(b"HTTP/1.1 ")[1:]]
    kinds = [GET if body == HEALTHY else plain if b'"type":"a"' in body else unusual for body in answers]
    assert kinds == requests


async def test_a_client_that_does_not_read_is_not_answered_in_the_lane(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.pause_writing()

    connection.data_received(post())
    await until(lambda: not connection.is_in_message and connection.unanswered == 1)
    assert transport.sent == b""
    connection.resume_writing()
    await answered(connection)

    assert transport.sent.startswith(CREATED)


async def test_writing_may_be_paused_while_a_body_comes(server: InProcess) -> None:
    request = post()
    connection, transport = server.connect()
    connection.data_received(request[:-1])
    connection.pause_writing()

    connection.data_received(request[-1:])
    connection.resume_writing()
    await answered(connection)

    assert transport.sent.startswith(CREATED)
    assert await server.depth() == 1


# ---- when it goes wrong


async def test_a_body_that_never_comes_whole_enqueues_nothing(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(post()[:-1])

    transport.close()
    await until(lambda: not server.state.connections)
    connection.data_received(post()[-1:])

    assert await server.depth() == 0
    assert transport.sent == b""


async def test_an_awaited_body_has_its_deadline(server: InProcess) -> None:
    connection, transport = server.connect()
    connection.data_received(post()[:-1])
    server.loop.now_s += 5

    connection.sweep(server.loop.now_s)
    assert not transport.is_closing()
    server.loop.now_s += 1
    connection.sweep(server.loop.now_s)

    assert transport.sent.startswith(b"HTTP/1.1 408 ")
    assert await server.depth() == 0


async def test_an_awaited_body_that_drips_has_its_deadline_too(server: InProcess) -> None:
    request = post(b'{"type":"a","payload":"%b"}' % (b"x" * 60_000))
    connection, transport = server.connect()
    connection.data_received(request[:1_000])

    for second in range(30):
        server.loop.now_s += 1
        connection.data_received(request[1_000 * (second + 1) :][:1_000])
        connection.sweep(server.loop.now_s)
    assert not transport.is_closing()
    server.loop.now_s += 0.1
    connection.sweep(server.loop.now_s)

    assert transport.sent.startswith(b"HTTP/1.1 408 ")
    assert await server.depth() == 0


async def test_a_fault_of_ours_is_answered_without_detail(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Answer:
        raise RuntimeError("secret")

    with monkeypatch.context() as patched:
        patched.setattr("gotaskq.api.submit.encode_job", fail)
        connection, transport = server.connect()
        connection.data_received(post())
    connection.data_received(post())

    assert transport.sent.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b'{"error":"internal","request_id":"' in transport.sent
    assert b"secret" not in transport.sent
    assert transport.sent.count(CREATED) == 1


# ---- a store that has to be waited for


class Gate:
    """Stands for a store that answers when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Answer]] = []

    def submit(self, _: Admission, body: bytes, __: str | None, *, principal: str) -> "asyncio.Future[Answer]":
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]


@pytest.fixture
async def gate(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(fastlane, "submit", gate.submit)
    cast("FastLane", server.connect()[0]._lane).is_immediate = False
    return gate


@pytest.mark.parametrize("follower", [GET, GET[:-4], post(), b"no http\r\n\r\n"])
async def test_nothing_overtakes_an_answer_that_is_waited_for(server: InProcess, gate: Gate, follower: bytes) -> None:
    connection, transport = server.connect()
    connection.data_received(post() + follower)
    await until(lambda: len(gate.waiting) == 1)
    connection.sweep(server.loop.now_s + 10_000)
    assert (transport.sent, transport.is_closing()) == (b"", False)

    gate.waiting[0].set_result(Answer(201, b"first"))
    await answered(connection)

    assert transport.sent.partition(b"\r\n\r\n")[2].startswith(b"first")


async def test_who_has_gone_loses_the_answer_only(server: InProcess, gate: Gate) -> None:
    connection, transport = server.connect()
    connection.data_received(post())
    await until(lambda: len(gate.waiting) == 1)

    transport.close()
    gate.waiting[0].set_result(Answer(201, b"first"))
    await until(lambda: connection._submitting is None)

    assert transport.sent == b""


async def test_an_answer_that_is_waited_for_is_the_last_of_a_connection_that_is_to_end(
    server: InProcess, gate: Gate
) -> None:
    connection, transport = server.connect()
    connection.data_received(post())
    await until(lambda: len(gate.waiting) == 1)

    connection.end_soon()
    gate.waiting[0].set_result(Answer(201, b"first"))
    await answered(connection)

    assert transport.is_closing()
    assert (transport.sent.count(CREATED), transport.sent.count(b"connection: close")) == (1, 1)


async def test_a_body_that_is_still_coming_is_waited_for_when_the_connection_is_to_end(server: InProcess) -> None:
    connection, transport = server.connect()
    request = post(b'{"type":"a"}')
    connection.data_received(request[:-5])

    connection.end_soon()
    connection.shutdown()
    assert not transport.is_closing()
    connection.data_received(request[-5:])
    await answered(connection)

    assert transport.is_closing()
    assert (transport.sent.count(CREATED), transport.sent.count(b"connection: close")) == (1, 1)


async def test_a_server_that_drains_says_so_and_hangs_up(server: InProcess) -> None:
    connection, transport = server.connect()
    server.taskq.stop_accepting()

    connection.data_received(post() * 3)
    await answered(connection)

    assert transport.is_closing()
    assert transport.sent.count(b"HTTP/1.1 503 ") == 1
    assert transport.sent.count(b"connection: close") == 1


async def test_a_server_that_ends_gives_the_answer_first(server: InProcess, gate: Gate) -> None:
    connection, transport = server.connect()
    connection.data_received(post())
    await until(lambda: len(gate.waiting) == 1)

    connection.shutdown()
    assert not transport.is_closing()
    gate.waiting[0].set_result(Answer(201, b"first"))
    await until(transport.is_closing)

    assert transport.sent.endswith(b"first")


async def test_a_fault_while_waiting_is_answered_without_detail(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> Job:
        raise RuntimeError("secret")

    monkeypatch.setattr(Admission, "submit", fail)
    connection, transport = server.connect()
    connection._lane.is_immediate = False

    connection.data_received(post() + GET)
    await answered(connection)

    assert b'{"error":"internal","request_id":"' in transport.sent
    assert b"secret" not in transport.sent
    assert transport.sent.endswith(HEALTHY)
