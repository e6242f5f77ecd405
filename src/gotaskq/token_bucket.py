"""A rate limit as tokens: each job takes one, and they come back at the rate of the limit.

Used by the stores: by the memory backend to judge, by that of Redis, whose script judges, to tell what is left.
Invariant: there are never more than a second brings, or one where a second brings less.
"""

from math import ceil, floor

from gotaskq.errors import Quota


class TokenBucket:
    """Tokens as they were at an instant, in milliseconds of whatever clock its owner lives by."""

    __slots__ = ("_at_ms", "_tokens", "capacity", "per_second")

    def __init__(self, per_second: float, *, at_ms: int, tokens: float | None = None) -> None:
        """Begin with these tokens, or full."""
        self.per_second = per_second
        self.capacity = max(float(per_second), 1.0)
        self._tokens = self.capacity if tokens is None else tokens
        self._at_ms = at_ms

    def left(self, now_ms: int) -> float:
        """Return how many there are."""
        return min(self._tokens + max(now_ms - self._at_ms, 0) * self.per_second / 1000, self.capacity)

    def take(self, now_ms: int) -> bool:
        """Take one; False when there is none."""
        left = self.left(now_ms)
        if left < 1:
            return False
        self._tokens, self._at_ms = left - 1, now_ms
        return True

    def quota(self, now_ms: int) -> Quota:
        """Return how many are left, and in how many seconds there will be one, or all of them."""
        left = self.left(now_ms)
        wanted = 1 if left < 1 else self.capacity
        return Quota(round(self.per_second), floor(left), max(ceil((wanted - left) / self.per_second), 1))
