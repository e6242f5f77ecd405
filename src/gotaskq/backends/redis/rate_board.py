"""What is left of the rate limits of queues, as the enqueue script said last.

Of several partitions each takes its share of a limit, and says what is left of that.
Invariant: what is said to be left is what this process heard of; a partition it has not heard of counts for nothing.
"""

from collections.abc import Mapping
from math import floor

from gotaskq.errors import Quota
from gotaskq.queue_rules import QueueRules
from gotaskq.token_bucket import TokenBucket


class RateBoard:
    """Tokens by queue and partition."""

    def __init__(self, rules: Mapping[str, QueueRules], *, partitions: int) -> None:
        self._rules = rules
        self._partitions = partitions
        self._heard: dict[str, dict[int, TokenBucket]] = {}

    def hear(self, reply: bytes, partition: int, *, now_ms: int) -> None:
        """Read what the reply of a call says in its lines, if it has some."""
        for line in reply.decode().split("\n")[1:]:
            queue, tokens = line.split(" ")
            rate_limit = self._limit(queue)
            if rate_limit is not None:
                bucket = TokenBucket(rate_limit / self._partitions, at_ms=now_ms, tokens=float(tokens))
                self._heard.setdefault(queue, {})[partition] = bucket

    def forget(self) -> None:
        """Forget queues that have no limit any more."""
        self._heard = {queue: heard for queue, heard in self._heard.items() if self._limit(queue) is not None}

    def quota(self, queue: str, *, now_ms: int) -> Quota | None:
        """Return what is left of a queue's limit; None where nothing is known of it."""
        rate_limit, heard = self._limit(queue), self._heard.get(queue)
        if rate_limit is None or not heard:
            return None
        left = sum(floor(bucket.left(now_ms)) for bucket in heard.values())
        seconds = [bucket.quota(now_ms).reset_s for bucket in heard.values()]
        return Quota(rate_limit, min(left, rate_limit), max(seconds) if left else min(seconds))

    def _limit(self, queue: str) -> int | None:
        rules = self._rules.get(queue)
        return None if rules is None else rules.rate_limit
