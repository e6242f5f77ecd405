"""Metrics: plain integer counters kept by an observer of the event stream; `prometheus.py` makes the page of them.

Invariant: label values are bounded. A type without a handler counts as `other`, and so does what is beyond MAX_TYPES
and MAX_QUEUES, so no caller can make the page grow.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

from gotaskq.events import JobDied, JobDone, JobEnqueued, JobRetryScheduled
from gotaskq.job import Job

MAX_TYPES: Final = 200
MAX_QUEUES: Final = 50
OTHER: Final = "other"
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # the original's: Go client defaults


class Series:
    """The counters of one (queue, type)."""

    __slots__ = ("buckets", "dead", "done", "duration_s", "enqueued", "failed", "retried")

    def __init__(self) -> None:
        self.enqueued = 0
        self.done = 0
        self.failed = 0
        self.retried = 0
        self.dead = 0
        self.duration_s = 0.0
        self.buckets = [0] * (len(BUCKETS_S) + 1)

    def time(self, duration_s: float) -> None:
        """Count an attempt of this duration."""
        self.duration_s += duration_s
        self.buckets[bisect_left(BUCKETS_S, duration_s)] += 1


class Metrics:
    """Counts what the event bus tells; one per app, so two apps in a process do not mix."""

    def __init__(self, *, has_handler: Callable[[str], bool]) -> None:
        self._has_handler = has_handler
        self._series: dict[tuple[str, str], Series] = {}
        self._queues: set[str] = set()
        self._types: set[str] = set()

    def count_enqueued(self, events: Sequence[JobEnqueued]) -> None:
        """Count accepted jobs."""
        for event in events:
            job = event.job
            (self._series.get((job.queue, job.type)) or self._find(job)).enqueued += 1

    def count_done(self, events: Sequence[JobDone]) -> None:
        """Count attempts that succeeded."""
        for event in events:
            job = event.job
            series = self._series.get((job.queue, job.type)) or self._find(job)
            series.done += 1
            series.duration_s += event.duration_s
            series.buckets[bisect_left(BUCKETS_S, event.duration_s)] += 1

    def count_retried(self, event: JobRetryScheduled) -> None:
        """Count an attempt that failed and will be retried."""
        series = self._find(event.job)
        series.failed += 1
        series.retried += 1
        series.time(event.duration_s)

    def count_dead(self, event: JobDied) -> None:
        """Count a death, and the failed attempt before it where there was one."""
        series = self._find(event.job)
        series.dead += 1
        if event.duration_s is not None:
            series.failed += 1
            series.time(event.duration_s)

    def series(self) -> list[tuple[tuple[str, str], Series]]:
        """Return the counters by (queue, type), sorted."""
        return sorted(self._series.items(), key=lambda item: item[0])

    def queue_label(self, queue: str) -> str:
        """Return the queue's name, or `other` when there are too many to name."""
        if queue in self._queues or len(self._queues) < MAX_QUEUES:
            self._queues.add(queue)
            return queue
        return OTHER

    def _find(self, job: Job) -> Series:
        labels = (self.queue_label(job.queue), self._type_label(job.type))
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = Series()
        return series

    def _type_label(self, job_type: str) -> str:
        if job_type in self._types or (len(self._types) < MAX_TYPES and self._has_handler(job_type)):
            self._types.add(job_type)
            return job_type
        return OTHER
