"""A push: what is sent of a job, and what of it nobody gets to see."""

import json
from random import Random

import msgspec
import pytest
from tests.unit.engine.jobs import running

from gotaskq.delivery.deliveries import Deliveries
from gotaskq.delivery.errors import DestinationError
from gotaskq.delivery.push import Push, body_of
from gotaskq.testing.clock import FakeClock

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def push(url: str = "https://example.com/hooks/T0KEN?key=K3Y", **options: object) -> Push:
    deliveries = Deliveries(FakeClock(), Random(1))
    given = {"secrets": [SECRET], "headers": {"authorization": "Bearer B3ARER"}} | options
    return Push("email.send", url, deliveries=lambda: deliveries, **given)  # type: ignore[arg-type]


def test_a_receiver_gets_the_payload_as_it_was_sent() -> None:
    payload = b'{"n": 1e400, "big":123456789012345678901234567890 , "b":2,"a":1}'
    job = msgspec.structs.replace(
        running(), payload_json=payload, headers_json=b'{"tenant":"a"}', created_at_ms=1_795_428_000_007
    )

    body = body_of(job)

    assert body.endswith(b'"payload":' + payload + b"}")
    assert list(json.loads(body)) == [
        "id",
        "type",
        "queue",
        "attempt",
        "max_retries",
        "created_at",
        "headers",
        "payload",
    ]
    assert json.loads(body)["created_at"] == "2026-11-23T10:00:00.007Z"
    assert json.loads(body)["headers"] == {"tenant": "a"}


def test_it_shows_nothing_that_may_be_secret() -> None:
    shown = repr(push())

    assert shown == "<push 'email.send' to https://example.com>"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"secrets": []}, "1 to 4"),
        ({"secrets": SECRET}, "1 to 4"),
        ({"secrets": [SECRET] * 5}, "1 to 4"),
        ({"secrets": ["whsec_c2hvcnQ="]}, "24 to 64 bytes"),
        ({"headers": {"Host": "evil.example"}}, "'Host'"),
        ({"headers": {"webhook-signature": "v1,"}}, "webhook-signature"),
        ({"headers": {"x y": "z"}}, "x y"),
        ({"headers": {"x": "a\r\ny: z"}}, "'x'"),
        ({"headers": {"x": ""}}, "'x'"),
        ({"timeout_s": 0}, "timeout"),
        ({"timeout_s": float("nan")}, "timeout"),
    ],
)
def test_what_could_not_be_sent_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        push(**options)  # type: ignore[arg-type]


def test_so_is_a_url_that_leads_nowhere() -> None:
    with pytest.raises(DestinationError, match="no user"):
        push("https://user:hunter2@example.com/")
