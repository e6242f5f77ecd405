"""The default retry policy of a queue: its own backoff where it has one, else what is behind."""

from random import Random

import pytest
from tests.unit.engine.jobs import running

from gotaskq.engine.queue_retry import QueueRetry
from gotaskq.policies.retry import ExponentialBackoff, FixedDelay, RetryIn
from gotaskq.queue_rules import NO_RULES, QueueRules

BACKOFF = ExponentialBackoff(100, 5_000)


@pytest.mark.parametrize(
    ("rules", "retry_count", "least_ms"),
    [
        (QueueRules(base_delay_ms=1_000, max_delay_ms=60_000), 3, 8_000),
        (QueueRules(base_delay_ms=1_000, max_delay_ms=3_000), 9, 3_000),
        (QueueRules(base_delay_ms=9_000), 0, 9_000),
        (QueueRules(base_delay_ms=200), 9, 5_000),
        (QueueRules(max_delay_ms=50), 0, 50),
        (QueueRules(max_delay_ms=400), 1, 200),
    ],
)
def test_a_queues_own_backoff_counts(rules: QueueRules, retry_count: int, least_ms: int) -> None:
    policy = QueueRetry(FixedDelay(7), {"default": rules}, backoff=BACKOFF)

    retry = policy.decide(running(retry_count=retry_count), OSError(), rng=Random(1))

    assert isinstance(retry, RetryIn)
    assert least_ms <= retry.delay_ms <= least_ms * 1.4


@pytest.mark.parametrize("rules", [{}, {"default": NO_RULES}, {"mail": QueueRules(base_delay_ms=1)}])
def test_a_queue_without_one_asks_what_is_behind(rules: dict[str, QueueRules]) -> None:
    policy = QueueRetry(FixedDelay(7), rules, backoff=BACKOFF)

    assert policy.decide(running(), OSError(), rng=Random(1)) == RetryIn(7)
