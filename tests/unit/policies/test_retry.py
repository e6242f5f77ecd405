"""Retry policies: delays within their bounds, whatever the retry count and the draw."""

from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotaskq.job import DeathReason, Job, JobId
from gotaskq.policies.retry import ExponentialBackoff, FixedDelay, GiveUp, NoRetry, RetryIn, RetryPolicy

ERROR: Final = ValueError("no")


class Draw(Random):
    """Draws this share of the range asked for."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self._share


def failed(retry_count: int) -> Job:
    return Job(
        id=JobId(1),
        type="email.send",
        queue="default",
        payload_json=b"null",
        priority=0,
        delay_ms=0,
        max_retries=200,
        retry_count=retry_count,
        rank=0,
        created_at_ms=0,
        updated_at_ms=0,
        run_after_ms=0,
        enqueue_nonce="n",
    )


def delay_ms(policy: RetryPolicy, retry_count: int, rng: Random) -> int:
    decided = policy.decide(failed(retry_count), ERROR, rng=rng)
    assert isinstance(decided, RetryIn)
    return decided.delay_ms


@pytest.mark.parametrize(
    ("retry_count", "expected_ms"), [(0, 100), (1, 200), (2, 400), (5, 3_200), (6, 5_000), (7, 5_000), (200, 5_000)]
)
def test_the_delay_doubles_up_to_its_cap(retry_count: int, expected_ms: int) -> None:
    assert delay_ms(ExponentialBackoff(), retry_count, Draw(0)) == expected_ms


@pytest.mark.parametrize(("share", "expected_ms"), [(0, 1_000), (0.5, 1_200), (1, 1_400)])
def test_jitter_adds_up_to_forty_percent(share: float, expected_ms: int) -> None:
    assert delay_ms(ExponentialBackoff(base_ms=1_000, cap_ms=1_000), 3, Draw(share)) == expected_ms


def test_jitter_differs_from_draw_to_draw() -> None:
    rng = Random(1)

    assert len({delay_ms(ExponentialBackoff(), 9, rng) for _ in range(50)}) > 40


def test_jitter_can_be_switched_off() -> None:
    assert delay_ms(ExponentialBackoff(jitter=0), 1, Draw(1)) == 200


def test_a_cap_below_the_base_wins() -> None:
    assert delay_ms(ExponentialBackoff(base_ms=500, cap_ms=300), 0, Draw(0)) == 300


def test_no_delay_stays_none() -> None:
    assert delay_ms(ExponentialBackoff(base_ms=0), 200, Draw(1)) == 0


@given(
    base_ms=st.integers(0, 10**9),
    cap_ms=st.integers(0, 10**10),
    retry_count=st.integers(0, 10_000),
    seed=st.integers(0, 2**32),
)
def test_the_delay_is_between_d_and_one_point_four_d(base_ms: int, cap_ms: int, retry_count: int, seed: int) -> None:
    policy = ExponentialBackoff(base_ms=base_ms, cap_ms=cap_ms)

    delay = delay_ms(policy, retry_count, Random(seed))

    d = min(base_ms * 2**retry_count, cap_ms)
    assert d <= delay <= 1.4 * d


@pytest.mark.parametrize("retry_count", [0, 1, 200])
def test_a_fixed_delay_is_fixed(retry_count: int) -> None:
    assert delay_ms(FixedDelay(250), retry_count, Draw(1)) == 250


def test_no_retry_gives_up_at_once() -> None:
    assert NoRetry().decide(failed(0), ERROR, rng=Draw(0)) == GiveUp(DeathReason.NO_RETRY)
