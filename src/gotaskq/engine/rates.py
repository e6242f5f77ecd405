"""How fast queues are emptied: the jobs of each that ended in this process within the last minute.

Fed by the bus; asked by `explain` and by whoever must say when to come back. What other processes end is not seen here,
so of a shared store a rate is the least that is so.
Invariant: memory is bounded, whatever the number of queues and jobs.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.events import JobCancelled, JobDied, JobDone

BUCKET_S: Final = 5.0
BUCKETS: Final = 12  # a minute: long enough for slow jobs, short enough to follow a change
ENOUGH: Final = 5  # of fewer ends nobody can say since when the queue moves
MAX_QUEUES: Final = 1_000  # beyond, a queue has no rate

Ended: TypeAlias = JobDone | JobDied | JobCancelled


class FinishRates:
    """Counts ends by queue, in buckets of a few seconds that are used again in turn."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._buckets: list[dict[str, int]] = [{} for _ in range(BUCKETS)]
        self._newest = 0  # the number of the bucket that is filled now, counted on from the beginning
        bus.subscribe_to_batches(JobDone, self._count)
        bus.subscribe_to_batches(JobDied, self._count)
        bus.subscribe_to_batches(JobCancelled, self._count)

    def per_second(self, queue: str) -> float:
        """Return how many of the queue's jobs ended in a second, of late; 0 when none did."""
        newest = self._turn()
        oldest = max(newest - BUCKETS + 1, 0)
        counts = [self._buckets[number % BUCKETS].get(queue, 0) for number in range(oldest, newest + 1)]
        ended = sum(counts)
        if ended >= ENOUGH:  # what began in the middle of the minute is as fast as it is since then
            oldest += next(place for place, count in enumerate(counts) if count)
        window_s = self._clock.monotonic_s() - self._began_s - oldest * BUCKET_S
        return ended / window_s if window_s > 0 else 0.0

    def _count(self, events: Sequence[Ended]) -> None:
        self._turn()
        counts = self._buckets[self._newest % BUCKETS]
        for event in events:
            queue = event.job.queue
            known = counts.get(queue)
            if known is not None:
                counts[queue] = known + 1
            elif len(counts) < MAX_QUEUES:
                counts[queue] = 1

    def _turn(self) -> int:
        """Empty the buckets whose time has come again, and return the number of the one to fill."""
        bucket = int((self._clock.monotonic_s() - self._began_s) // BUCKET_S)
        for number in range(max(self._newest + 1, bucket - BUCKETS + 1), bucket + 1):
            self._buckets[number % BUCKETS].clear()
        self._newest = max(self._newest, bucket)
        return bucket
