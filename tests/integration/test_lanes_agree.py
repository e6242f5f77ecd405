"""Both lanes answer the same request with the same bytes: status, headers in order, body, and what was stored.

Clock and chance are the same on both sides, so ids and instants are compared as they are.
"""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.integration import test_bad_input as bad
from tests.unit.api.test_protocol import GET, FakeTransport, InProcess, in_process, post, until

Lanes = tuple[InProcess, InProcess]

SECRET = "whsec_" + "c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ghIQ=="
GOOD_BODIES = [
    b'{"type":"a"}',
    b' {"type" : "a" , "payload" : {"b" : [1, 2.50, "\\u00e9"]} }\n',
    '{"type":"a","payload":"é€😀"}'.encode(),
    b'{"type":"a","payload":{"type":1,"type":2}}',
    b'{"type":"a","payload":1e400,"unknown":[1]}',
    b'{"type":"a","payload":%b}' % (b"9" * 5_000),
    b'{"type":"a","payload":"%b"}' % (b"x" * 100_000),
    b'{"type":"a","priority":10,"delay":1.5,"max_retries":0}',
    b'{"type":"a","priority":null,"delay":null,"max_retries":null,"payload":null}',
    b'{"type":"a","queue":"mail"}',
    b'{"type":"a","queue":"MAIL"}',
    b'{"type":"a","queue":"nowhere"}',
    b'{"type":"a","queue":"a b"}',
    b'{"type":"a","queue":5}',
    b'{"type":"a","queue":null}',
    b'{"type":"a","queue":"queue"}',
    b'{"type":"a","delay":31536000}',
    b'{"type":"a","timeout":30,"schedule_timeout":0.5}',
    b'{"type":"a","payload":{"timeout":1},"timeout":31536000}',
    b'{"type":"a","timeout":1}',
    b'{"type":"a","timeout":1.0}',
    b'{"type":"a","timeout":null,"schedule_timeout":0.001}',
    b'{"type":"a","callback":null}',
    b'{"type":"a","callback":{"url":"https://a.example/ended","on":["done"]}}',
    b'{"type":"a","callback":{"url":"https://a.example/ended","on":[]}}',
    b'{"type":"a","callback":{"url":"no","unknown":1}}',
    b'{"type":"a","callback":{"url":"https://a.example","on":["ended"]}}',
    b"[" * 64 + b"]" * 64,
]
MEMBER_BODIES = [b'{"type":"a","%b":%b}' % (name.encode(), text.encode()) for name, text in bad.BAD_MEMBERS]
BODIES = [
    *GOOD_BODIES,
    *bad.INVALID_JSON,
    *bad.NO_OBJECTS,
    *bad.NO_TYPES,
    *(body for body, _ in bad.REPEATED_MEMBERS),
    *MEMBER_BODIES,
    *(b'{"type":%b}' % json.dumps(value).encode() for value in bad.BAD_TYPES),
]
HEADERS = [
    b"Host: a\r\nUser-Agent: x\r\nAccept: */*\r\n",
    b"host: a\r\ncontent-type: application/json\r\n",
    b"host: a\r\ncontent-type: application/json; charset=utf-8\r\n",
    b"host: a\r\ncontent-type: text/plain\r\n",
    b"host: a\r\ncontent-type:\r\n",
    b"host: a\r\norigin: http://b\r\n",
    b"host: a\r\norigin: http://b\r\ncontent-type: application/json\r\n",
    b"host: a\r\nsec-fetch-site: cross-site\r\n",
    b"host: a\r\nsec-fetch-site: none\r\n",
    b"host: a\r\nconnection: close\r\n",
    b"host: a\r\nconnection: keep-alive\r\n",
    b"host: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n",
    b"host: a\r\nexpect: 100-continue\r\n",
    b"host: a\r\ncontent-encoding: gzip\r\n",
    b"host: a\r\nidempotency-key: k\r\nprefer: return=minimal\r\ntraceparent: 00-1-1-00\r\n",
    b"host:\r\n",
    b"host: a b\r\n",
    b"host: \xe9\r\n",
    b"x: 1\r\n",
    b"host: a\r\nhost: a\r\n",
    b"host : a\r\n",
    b"host: a\r\n folded\r\n",
    b"host: a\nx: 1\r\n",
    b"host: a\r\nx: \x00\r\n",
    b"host: a\r\nx: \x01\r\n",
    b"host: a\r\nx: \x7f\r\n",
    b"host: a\r\nx:\t1\t2\t\r\n",
    b"host: a\r\nx\r\n",
    b"host: a\r\n: x\r\n",
    b"host: a\r\nx y: 1\r\n",
    b"host: a\r\ncontent-length: 12\r\n",
    b"host: a\r\ntransfer-encoding: chunked\r\n",
    b"host: a\r\nx: %b\r\n" % (b"x" * 4_000),
    b"host: a\r\nx: %b\r\n" % (b"x" * 9_000),
    b"host: a\r\n" + b"".join(b"x%d: 1\r\n" % number for number in range(40)),
    b"host: a\r\n" + b"".join(b"x%d: 1\r\n" % number for number in range(70)),
]
PATHS = [
    *(b"/%b/jobs" % name.encode("latin-1") for name in bad.BAD_QUEUES),
    *(path.encode() for path in bad.TRAVERSALS),
    *(
        b"/%b/jobs" % name
        for name in (b"default", b"Default", b"mail", b"MAIL", b"nowhere", b"jobs", b"dlq", b"metrics")
    ),
    *(b"/queue/jobs", b"/Queue/jobs", b"/jobs/", b"/jobs?a=b", b"/jobs?", b"/jobs#a", b"//jobs", b"/jobs/jobs/jobs"),
    *(b"http://b/jobs", b"jobs", b"*", b"/j%6fbs", b"/\xff/jobs", b"/JOBS", b"/jobs/1"),
]


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    async with (
        in_process(fast_lane=True, callback_secret=SECRET) as fast,
        in_process(fast_lane=False, callback_secret=SECRET) as full,
    ):
        for server in (fast, full):
            await server.taskq.create_queue("mail")
        yield fast, full


async def ask(server: InProcess, data: bytes) -> FakeTransport:
    """Send requests and one that closes the connection, and return the transport at its end."""
    connection, transport = server.connect()
    connection.data_received(data + GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    await until(transport.is_closing)
    return transport


async def assert_same(lanes: Lanes, data: bytes) -> bytes:
    fast, full = [(await ask(server, data)).sent for server in lanes]
    assert fast == full
    assert fast.startswith(b"HTTP/1.1 ")
    assert await lanes[0].taskq.queues() == await lanes[1].taskq.queues()
    return fast


async def test_both_lanes_take_what_they_are_meant_to(lanes: Lanes) -> None:
    taken = []
    for server in lanes:
        connection, transport = server.connect()
        connection.data_received(post())
        taken.append(bool(transport.sent))

    assert taken == [True, False]


@pytest.mark.parametrize("path", [b"/jobs", b"/mail/jobs"])
async def test_both_lanes_agree_on_bodies(lanes: Lanes, path: bytes) -> None:
    for body in BODIES:
        await assert_same(lanes, post(body, path=path))


@pytest.mark.parametrize("headers", HEADERS)
async def test_both_lanes_agree_on_headers(lanes: Lanes, headers: bytes) -> None:
    for body in (b'{"type":"a"}', b"{}"):
        await assert_same(lanes, post(body, headers=headers))


@pytest.mark.parametrize("path", PATHS)
async def test_both_lanes_agree_on_paths(lanes: Lanes, path: bytes) -> None:
    for body in (b'{"type":"a"}', b"{}"):
        await assert_same(lanes, post(body, path=path))


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"post", b"TRACE"])
async def test_both_lanes_agree_on_methods(lanes: Lanes, method: bytes) -> None:
    await assert_same(lanes, post().replace(b"POST", method, 1))


@pytest.mark.parametrize("ending", [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b""])
async def test_both_lanes_agree_on_protocols(lanes: Lanes, ending: bytes) -> None:
    await assert_same(lanes, post().replace(b"HTTP/1.1", ending, 1))


@pytest.mark.parametrize(
    "length", [b"", b"-12", b"+12", b"012", b"0xC", b"12 ", b"12\t", b"12,12", b"1 2", b"13", b"5"]
)
async def test_both_lanes_agree_on_lengths(lanes: Lanes, length: bytes) -> None:
    await assert_same(lanes, post().replace(b": 12", b": " + length))


async def test_both_lanes_agree_on_a_full_queue_and_while_draining() -> None:
    async with (
        in_process(fast_lane=True, max_queue_depth=2) as fast,
        in_process(fast_lane=False, max_queue_depth=2) as full,
    ):
        answers = await assert_same((fast, full), post() * 3)
        assert answers.count(b"HTTP/1.1 429 ") == 1

        for server in (fast, full):
            server.taskq.stop_accepting()

        assert b"HTTP/1.1 503 " in await assert_same((fast, full), post())


@pytest.fixture
def no_faults(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.usefixtures("no_faults")
async def test_both_lanes_agree_on_many_in_one_piece(lanes: Lanes) -> None:
    short = [body for body in BODIES if len(body) < 2_000]

    await assert_same(lanes, b"".join(post(body) for body in short))
