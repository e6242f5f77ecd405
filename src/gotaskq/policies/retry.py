"""Retry policies: how long to wait after a failure, or whether to give up early.

Asked by the decision after each failed attempt that has retries left. Pure: the random numbers are passed in.
Invariant: a delay is never negative and never beyond its cap and jitter, whatever the retry count.
"""

from dataclasses import dataclass
from random import Random
from typing import Final, Protocol, TypeAlias

from gotaskq.job import DeathReason, Job

JITTER: Final = 0.4  # the original's share: spreads retries of jobs that failed together, at most 40 % later
MAX_EXPONENT: Final = 62  # 2**62 ms is longer than any cap; keeps the shift small at retry 200


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Run the job again, `delay_ms` from now."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not run the job again."""

    reason: DeathReason


Retry: TypeAlias = RetryIn | GiveUp


class RetryPolicy(Protocol):
    """Says what follows a failure of a job that has retries left."""

    def decide(self, job: Job, error: BaseException, *, rng: Random) -> Retry:
        """Return the delay until the next attempt, or that there is none."""
        ...


@dataclass(frozen=True, slots=True)
class ExponentialBackoff:
    """Double the delay with each retry up to a cap, then add jitter.

    delay = min(base_ms · 2^retry_count, cap_ms) + uniform(0, 0.4 · delay), in milliseconds.
    """

    base_ms: int = 100
    cap_ms: int = 5_000
    jitter: float = JITTER

    def decide(self, job: Job, error: BaseException, *, rng: Random) -> Retry:
        """Return the delay for the job's retry_count; never gives up by itself."""
        delay_ms = min(self.base_ms << min(job.retry_count, MAX_EXPONENT), self.cap_ms)
        return RetryIn(delay_ms + int(rng.uniform(0, self.jitter * delay_ms)))


@dataclass(frozen=True, slots=True)
class FixedDelay:
    """Wait the same time before each retry."""

    delay_ms: int

    def decide(self, job: Job, error: BaseException, *, rng: Random) -> Retry:
        """Return the fixed delay; never gives up by itself."""
        return RetryIn(self.delay_ms)


@dataclass(frozen=True, slots=True)
class NoRetry:
    """Give up at the first failure, whatever the job's max_retries."""

    def decide(self, job: Job, error: BaseException, *, rng: Random) -> Retry:
        """Return that there is no further attempt."""
        return GiveUp(DeathReason.NO_RETRY)
