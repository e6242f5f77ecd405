"""Whatever a request holds and however it is cut, both lanes answer with the same bytes and store the same jobs."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.api.test_protocol import GET, InProcess, in_process, until

pytestmark = pytest.mark.slow

SECRET = "whsec_" + "c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ghIQ=="
LAST = GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
submissions = st.fixed_dictionaries(
    {"type": st.sampled_from(["a", "b:c", "", "d e", None]) | values},
    optional={
        "payload": values,
        "priority": st.integers(-1, 11) | values,
        "delay": st.sampled_from([0, 1, 1.5]) | values,
        "max_retries": st.integers(-1, 101) | values,
        "queue": st.sampled_from(["default", "mail", "MAIL", "nowhere"]) | values,
        "timeout": st.sampled_from([0, 0.001, 30, 1.0]) | values,
        "schedule_timeout": st.sampled_from([0, 0.001, 60, True]) | values,
        "headers": st.sampled_from([{}, {"tenant": "blue"}, {"X": "y"}]) | values,
        "unique_key": st.sampled_from(["w:1", "w:2", "", "é"]) | values,
        "idempotency_key": st.sampled_from(["k", "a b"]) | values,
        "callback": st.sampled_from([{"url": "https://a.example"}, {"url": "a"}]) | values,
        "unknown": values,
    },
).map(lambda members: json.dumps(members).encode())


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """Draw a submission of which a piece has been replaced."""
    body = draw(submissions)
    start = draw(st.integers(0, len(body)))
    return body[:start] + draw(st.binary(max_size=3)) + body[start + draw(st.integers(0, 3)) :]


bodies = submissions | mutilated() | st.binary(max_size=20)
names = st.sampled_from(
    b"x|accept|Content-Type|connection|Host|content-length|transfer-encoding|expect|te".split(b"|")
    + b"idempotency-key|origin|upgrade|content-encoding|x y|x\t|".split(b"|")
)
visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=6).map(str.encode)
header_values = (
    visible | st.binary(max_size=4) | st.sampled_from([b"application/json", b"chunked", b"close", b"0", b"12 "])
)
headers = st.lists(st.tuples(names, st.sampled_from([b": ", b":", b": \t", b" :"]), header_values), max_size=3)
paths = st.sampled_from(
    [b"/jobs", b"/mail/jobs", b"/MAIL/jobs", b"/nowhere/jobs", b"/queue/jobs", b"/jobs?a", b"/a b/jobs"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    body = draw(bodies)
    lines = [b"host: a", b"content-length: %d" % len(body)]
    if draw(st.integers(0, 2)) == 0:
        lines += [b"".join(parts) for parts in draw(headers)]
        lines = draw(st.permutations(lines))
    head = b"POST %b HTTP/1.1\r\n" % draw(paths) + b"".join(b"%b\r\n" % line for line in lines)
    return head + b"\r\n" + body


async def ask(server: InProcess, pieces: list[bytes]) -> bytes:
    await server.taskq.create_queue("mail")
    connection, transport = server.connect()
    for piece in pieces:
        connection.data_received(piece)
    connection.data_received(LAST)
    await until(lambda: transport.is_closing() or connection.is_in_message)
    if connection.is_in_message and not transport.is_closing():  # the last request became a part of a body
        server.loop.now_s += 1_000
        connection.sweep(server.loop.now_s)
        await until(transport.is_closing)
    return transport.sent


async def assert_same(pieces: list[bytes]) -> None:
    async with (
        in_process(fast_lane=True, callback_secret=SECRET) as fast,
        in_process(fast_lane=False, callback_secret=SECRET) as full,
    ):
        assert await ask(fast, pieces) == await ask(full, pieces)
        assert await fast.taskq.queues() == await full.taskq.queues()
        fast_page, full_page = [await server.taskq.list_jobs(limit=100) for server in (fast, full)]
        assert fast_page.jobs == full_page.jobs


@settings(max_examples=150)
@given(sent=st.lists(requests(), min_size=1, max_size=4).map(b"".join))
def test_the_lanes_agree_on_what_comes_in_one_piece(sent: bytes) -> None:
    asyncio.run(assert_same([sent]))


@settings(max_examples=150)
@given(sent=st.lists(requests(), min_size=1, max_size=3).map(b"".join), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_the_lanes_agree_on_what_comes_in_pieces(sent: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), max(len(sent), 400)]

    asyncio.run(assert_same([sent[start:end] for start, end in pairwise(places) if sent[start:end]]))
