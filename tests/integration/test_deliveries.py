"""Deliveries to receivers on real sockets: what is sent, what each answer means, and what nobody can make us do."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random

import pytest
import trustme
from tests.integration.receiver import OK, SECRET, answer, receiving

from gotaskq.control import Discard, Snooze
from gotaskq.delivery.breaker import BreakerRules
from gotaskq.delivery.deliveries import Deliveries
from gotaskq.delivery.errors import DeliveryError
from gotaskq.delivery.verdict import MAX_BODY_BYTES
from gotaskq.testing.clock import FakeClock

LOOPBACK = ("127.0.0.0/8",)
BODY = b'{"to":"a@b.c"}'
RULES = BreakerRules(max_failures=3, first_pause_s=5)

Make = Callable[..., Deliveries]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def make(clock: FakeClock) -> AsyncIterator[Make]:
    made: list[Deliveries] = []

    def make_one(
        allow: Sequence[str] = LOOPBACK,
        *,
        resolve: Callable[[str, int], Awaitable[Sequence[str]]] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Deliveries:
        more = {} if resolve is None else {"resolve": resolve}
        made.append(Deliveries(clock, Random(1), allow=lambda: allow, rules=RULES, tls=tls, **more))
        return made[-1]

    yield make_one
    for deliveries in made:
        await deliveries.close()


def send(deliveries: Deliveries, url: str, **options: object) -> Awaitable[object]:
    return deliveries.post(url, BODY, message_id="7301", secrets=[SECRET], **options)  # type: ignore[arg-type]


async def test_a_post_is_signed_and_its_answer_is_the_result(make: Make, clock: FakeClock) -> None:
    async with receiving(answer(200, b'{"sent":1}')) as receiver:
        result = await send(make(), receiver.url, headers={"authorization": "Bearer mine"})

    [request] = receiver.requests
    assert result == {"sent": 1}
    assert request.line == "POST /hook?key=in-the-query HTTP/1.1"
    assert request.body == BODY
    assert request.verified(now_s=clock.now_ms() / 1000) == "7301"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["authorization"] == "Bearer mine"
    assert request.headers["content-type"] == "application/json"


async def test_a_connection_serves_several_deliveries(make: Make) -> None:
    async with receiving() as receiver:
        deliveries = make()
        for _ in range(3):
            assert await send(deliveries, receiver.url) is None

    assert (len(receiver.requests), receiver.connections) == (3, 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(make: Make, status: int) -> None:
    async with receiving() as elsewhere, receiving(answer(status, location=elsewhere.url)) as receiver:
        with pytest.raises(Discard, match=f"HTTP {status}"):
            await send(make(), receiver.url)

    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_what_is_refused_is_not_tried_again(make: Make, status: int) -> None:
    async with receiving(answer(status, b"no such user")) as receiver:
        with pytest.raises(Discard, match=f"HTTP {status}: no such user"):
            await send(make(), receiver.url)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(make: Make, status: int) -> None:
    async with receiving(answer(status)) as receiver:
        with pytest.raises(DeliveryError, match=f"HTTP {status}"):
            await send(make(), receiver.url)


async def test_errors_show_no_query_and_nothing_of_our_headers(make: Make) -> None:
    async with receiving(answer(400, b"you sent Bearer mine-alone")) as receiver:
        with pytest.raises(Discard) as refused:
            await send(make(), receiver.url, headers={"authorization": "Bearer mine-alone"})

    assert str(refused.value) == f"http://127.0.0.1:{receiver.port}: HTTP 400: you sent ***"


@pytest.mark.parametrize("retry_after", ["30", "Mon, 23 Nov 2026 10:00:30 GMT"])
async def test_retry_after_holds_the_whole_destination(make: Make, clock: FakeClock, retry_after: str) -> None:
    async with receiving(answer(429, retry_after=retry_after), answer(200)) as receiver:
        deliveries = make()
        with pytest.raises(Snooze) as told:
            await send(deliveries, receiver.url)
        await clock.advance(10)
        with pytest.raises(Snooze) as held:
            await send(deliveries, receiver.url)
        await clock.advance(20)
        await send(deliveries, receiver.url)

    assert 30 <= told.value.delay_s <= 33
    assert 20 <= held.value.delay_s <= 22
    assert len(receiver.requests) == 2
    assert deliveries.counts == {("other", "snoozed"): 1, ("other", "held"): 1, ("other", "done"): 1}


async def test_a_destination_that_is_down_is_left_alone_and_found_again(make: Make, clock: FakeClock) -> None:
    async with receiving(*[answer(500)] * 3, answer(200)) as receiver:
        deliveries = make()
        for _ in range(3):
            with pytest.raises(DeliveryError):
                await send(deliveries, receiver.url)
        with pytest.raises(Snooze):
            await send(deliveries, receiver.url)
        assert len(receiver.requests) == 3

        await clock.advance(5)
        await send(deliveries, receiver.url)
        await send(deliveries, receiver.url)

    assert len(receiver.requests) == 5


async def test_failures_count_though_another_was_answered_while_they_were_under_way(
    make: Make, clock: FakeClock
) -> None:
    async with receiving(b"HTTP/1.1 200 OK\r\n") as silent:
        deliveries = make()
        stuck = [asyncio.ensure_future(send(deliveries, silent.url, timeout_s=9)) for _ in range(3)]
        while len(silent.requests) < 3:
            silent.came.clear()
            await silent.came.wait()
        silent.answers = [OK]
        await send(deliveries, silent.url)
        await clock.advance(9)
        assert [type(ended) for ended in await asyncio.gather(*stuck, return_exceptions=True)] == [DeliveryError] * 3

        with pytest.raises(Snooze):
            await send(deliveries, silent.url)


async def test_a_closed_port_is_tried_again(make: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(DeliveryError, match="http://127"):
            await send(make(), url)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nhalf", b"rubbish\r\n\r\n"]
)
async def test_an_answer_that_breaks_off_is_tried_again(make: Make, said: bytes) -> None:
    async with receiving(said) as receiver:
        with pytest.raises(DeliveryError):
            await send(make(), receiver.url)


async def test_a_body_that_never_ends_is_cut_off_in_time(make: Make, clock: FakeClock) -> None:
    async with receiving(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf") as receiver:
        sending = asyncio.ensure_future(send(make(), receiver.url, timeout_s=7))
        await receiver.came.wait()
        await clock.advance(7)
        with pytest.raises(DeliveryError, match="no answer within 7 s"):
            await sending
        await receiver.broken_off.wait()


async def test_of_a_huge_answer_no_more_is_read_than_is_kept(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    huge = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n" + b"1" * (MAX_BODY_BYTES + 1)
    async with receiving(huge) as receiver:
        assert await send(make(), receiver.url) is None
        await receiver.broken_off.wait()

    assert [record.message for record in caplog.records] == ["answer_not_kept"]
    assert "in-the-query" not in caplog.text


async def test_a_cancelled_delivery_closes_its_connection(make: Make) -> None:
    async with receiving(b"HTTP/1.1 200 OK\r\n") as receiver:
        sending = asyncio.ensure_future(send(make(), receiver.url))
        await receiver.came.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await receiver.broken_off.wait()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "https://localhost/", "https://[::ffff:127.0.0.1]/", "ftp://x/"]
)
async def test_without_leave_nothing_goes_to_this_machine(make: Make, url: str) -> None:
    with pytest.raises(Discard):
        await send(make(allow=()), url)


async def test_a_name_that_answers_otherwise_the_second_time_gains_nothing(make: Make) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["10.0.0.1"] if len(asked) == 1 else ["127.0.0.1"]

    async with receiving() as receiver:
        deliveries = make(allow=("127.0.0.1",), resolve=rebinding)
        with pytest.raises(Discard, match=r"10\.0\.0\.1"):
            await send(deliveries, f"http://evil.example:{receiver.port}/")
        assert asked == ["evil.example"]

        await send(deliveries, f"http://evil.example:{receiver.port}/")

    # One look-up a connection, and its answer is the one that was connected to.
    assert asked == ["evil.example"] * 2
    assert receiver.requests[0].headers["host"] == f"evil.example:{receiver.port}"


async def test_a_name_that_cannot_be_found_is_tried_again(make: Make) -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(DeliveryError, match="not known"):
        await send(make(resolve=unknown), "https://nowhere.example/")


async def test_tls_is_for_the_name_though_the_address_was_chosen_by_us(make: Make) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("hooks.example").configure_cert(theirs)

    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with receiving(answer(200, b"1"), tls=theirs) as receiver:
        deliveries = make(resolve=here, tls=ours)
        assert await send(deliveries, f"https://hooks.example:{receiver.port}/") == 1
        with pytest.raises(DeliveryError):
            await send(deliveries, f"https://other.example:{receiver.port}/")

    assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"
