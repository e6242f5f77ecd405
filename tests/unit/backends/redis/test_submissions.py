"""New jobs as the enqueue script takes them, and what its replies say."""

from random import Random

import pytest

from gotaskq.backend import Enqueued, EnqueueReply, Existing
from gotaskq.backends.redis.submissions import read_enqueued, submission_arguments
from gotaskq.job import JobId
from gotaskq.keys import FoundBy, Idempotency
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import Jobs

REQUEST = Idempotency("d1", "f1")
SEVEN = b"00000000000000000007"


@pytest.fixture
def job(clock: FakeClock) -> Jobs:
    return Jobs(clock, Random(1))


def terms(job: Jobs, **members: object) -> str | int:
    given = job(**members)  # type: ignore[arg-type]  # any members
    return submission_arguments(given, is_known=True, idempotency_ttl_ms=60)[2]


def test_a_plain_job_has_no_terms(job: Jobs) -> None:
    assert terms(job) == 0


def test_terms_are_delay_patience_and_keys(job: Jobs) -> None:
    assert terms(job, delay_s=5) == 5_000
    assert terms(job, delay_s=5, schedule_s=2) == "5000 2000"
    assert terms(job, unique_key="w:1") == "0\tw:1\t\t\t60"
    assert terms(job, schedule_s=2, request=REQUEST) == "0 2000\t\td1\tf1\t60"


def test_a_queue_that_is_not_known_is_not_named(job: Jobs) -> None:
    known, unknown = (
        submission_arguments(job(queue="q"), is_known=known, idempotency_ttl_ms=60) for known in (True, False)
    )

    assert (known[1], unknown[1]) == ("q", "")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", []),
        (b"O", [Enqueued.OK]),
        (b"ODCFTNWM", [word for word in Enqueued if word is not Enqueued.KEYS_FULL]),
        (b"OT\nmail 0.500000", [Enqueued.OK, Enqueued.TOO_FAST]),
        (b"E" + SEVEN, [Existing(JobId(7), FoundBy.UNIQUE_KEY)]),
        (
            b"OR%bME%bO" % (SEVEN, SEVEN),
            [
                Enqueued.OK,
                Existing(JobId(7), FoundBy.IDEMPOTENCY_KEY),
                Enqueued.KEY_REUSED,
                Existing(JobId(7), FoundBy.UNIQUE_KEY),
                Enqueued.OK,
            ],
        ),
    ],
)
def test_a_reply_says_what_became_of_each(reply: bytes, said: list[EnqueueReply]) -> None:
    assert read_enqueued(reply, len(said)) == said
