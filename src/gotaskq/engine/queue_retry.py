"""The default retry policy of each queue, where an operator has set one."""

from collections.abc import Mapping
from random import Random

from gotaskq.job import Job
from gotaskq.policies.retry import ExponentialBackoff, Retry, RetryPolicy
from gotaskq.queue_rules import QueueRules


class QueueRetry:
    """A policy that asks the rules of the job's queue first, and then the one behind it."""

    def __init__(self, behind: RetryPolicy, rules: Mapping[str, QueueRules], *, backoff: ExponentialBackoff) -> None:
        """Take from `backoff` what a queue's rules leave open."""
        self._behind = behind
        self._rules = rules
        self._backoff = backoff

    def decide(self, job: Job, error: BaseException, *, rng: Random) -> Retry:
        """Return what the queue's own backoff says, if it has one."""
        rules = self._rules.get(job.queue)
        if rules is None or (rules.base_delay_ms is None and rules.max_delay_ms is None):
            return self._behind.decide(job, error, rng=rng)
        base_ms = self._backoff.base_ms if rules.base_delay_ms is None else rules.base_delay_ms
        cap_ms = max(self._backoff.cap_ms, base_ms) if rules.max_delay_ms is None else rules.max_delay_ms
        return ExponentialBackoff(min(base_ms, cap_ms), cap_ms).decide(job, error, rng=rng)
