"""Orderings: which of the due jobs of one queue goes first, as one integer.

Asked once, at admission; backends only compare ranks, low first, and break ties by id. `run_after` is no part of a
rank: a job that is not due stands behind every job that is.
"""

from typing import Final, Protocol

from gotaskq.job import MAX_PRIORITY

MAX_RANK: Final = 2**53 - 1  # exact as a floating-point score, which is what Redis sorts by
RANK_TIME_BITS: Final = 49  # milliseconds since 1970 fit until the year 19,800


class Ordering(Protocol):
    """Gives a job its place among the due jobs of its queue."""

    def rank(self, *, priority: int, created_at_ms: int) -> int:
        """Return a rank from 0 to MAX_RANK; the lowest goes first."""
        ...


class PriorityFifo:
    """High priority first; within one priority, the older job."""

    def rank(self, *, priority: int, created_at_ms: int) -> int:
        """Return a rank that compares by priority, then by age."""
        return ((MAX_PRIORITY - priority) << RANK_TIME_BITS) | created_at_ms


class Fifo:
    """The older job first, whatever its priority."""

    def rank(self, *, priority: int, created_at_ms: int) -> int:
        """Return a rank that compares by age."""
        return created_at_ms
