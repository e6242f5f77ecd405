"""Metrics: plain integer counters kept by an observer of the event stream; `prometheus.py` makes the page of them.

Invariant: label values are bounded. A type without a handler counts as `other`, and so does what is beyond MAX_TYPES
and MAX_QUEUES, so no caller can make the page grow.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gotaskq.events import JobDied, JobDone, JobEnqueued, JobRetryScheduled, JobsLost, LoopStalled
from gotaskq.governing import QueueStats
from gotaskq.job import Job

MAX_TYPES: Final = 200
MAX_QUEUES: Final = 50
OTHER: Final = "other"
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # the original's: Go client defaults
STALL_BUCKETS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)  # shorter ones are no stalls


@dataclass(slots=True)  # its integers are counted up per job, which is slower in a Struct
class Series:
    """The counters of one (queue, type)."""

    enqueued: int = 0
    done: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    duration_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))

    def time(self, duration_s: float) -> None:
        """Count an attempt of this duration."""
        self.duration_s += duration_s
        self.buckets[bisect_left(BUCKETS_S, duration_s)] += 1

    def add(self, other: "Series") -> None:
        """Count all that another series has counted, too."""
        self.enqueued += other.enqueued
        self.done += other.done
        self.failed += other.failed
        self.retried += other.retried
        self.dead += other.dead
        self.duration_s += other.duration_s
        self.buckets = [mine + its for mine, its in zip(self.buckets, other.buckets, strict=True)]


@dataclass(slots=True)
class Stalls:
    """How often the event loop stood still, and for how long."""

    duration_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(STALL_BUCKETS_S) + 1))

    def add(self, other: "Stalls") -> None:
        """Count all that another process has counted, too."""
        self.duration_s += other.duration_s
        self.buckets = [mine + its for mine, its in zip(self.buckets, other.buckets, strict=True)]


@dataclass(slots=True)
class QueueGauges:
    """The figures of a queue, or of all that share a label."""

    ready: int = 0
    scheduled: int = 0
    running: int = 0
    dead: int = 0
    paused: int = 0
    oldest_ready_s: float = 0.0

    def add(self, stats: QueueStats) -> None:
        """Count a queue's figures, too; of ages the largest stands."""
        self.ready += stats.ready
        self.scheduled += stats.scheduled
        self.running += stats.running
        self.dead += stats.dead
        self.paused += stats.paused
        self.oldest_ready_s = max(self.oldest_ready_s, stats.latency_seconds)


class Counted(msgspec.Struct):
    """What a process has counted at one moment; several processes send each other theirs."""

    series: list[tuple[str, str, Series]]  # queue, type, counters; sorted
    active_workers: int = 0
    stalls: Stalls = msgspec.field(default_factory=Stalls)
    loop_lag_s: float = 0.0
    quiet_processes: int = 0
    abandoned: int = 0  # handlers that would not end and still run
    epoch_changes: int = 0
    deliveries: list[tuple[str, str, int]] = []  # job type, outcome, number; sorted


def add_up(counted: Iterable[Counted]) -> Counted:
    """Return what several processes have counted together."""
    sums: dict[tuple[str, str], Series] = {}
    deliveries: Counter[tuple[str, str]] = Counter()
    total = Counted([])
    for one in counted:
        total.active_workers += one.active_workers
        total.abandoned += one.abandoned
        total.quiet_processes += one.quiet_processes
        total.epoch_changes += one.epoch_changes
        total.stalls.add(one.stalls)
        total.loop_lag_s = max(total.loop_lag_s, one.loop_lag_s)
        for job_type, outcome, number in one.deliveries:
            deliveries[job_type, outcome] += number
        for queue, job_type, series in one.series:
            sums.setdefault((queue, job_type), Series()).add(series)
    total.series = [(queue, job_type, sums[queue, job_type]) for queue, job_type in sorted(sums)]
    total.deliveries = [(job_type, outcome, number) for (job_type, outcome), number in sorted(deliveries.items())]
    return total


def at_rest(counted: Counted) -> Counted:
    """Return what a process that is gone has counted: the counters stay, nothing is the case any more."""
    return Counted(
        counted.series, stalls=counted.stalls, epoch_changes=counted.epoch_changes, deliveries=counted.deliveries
    )


class Metrics:
    """Counts what the event bus tells; one per app, so two apps in a process do not mix."""

    def __init__(self, *, has_handler: Callable[[str], bool]) -> None:
        self._has_handler = has_handler
        self._series: dict[tuple[str, str], Series] = {}
        self._stalls = Stalls()
        self._epoch_changes = 0
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

    def count_stall(self, event: LoopStalled) -> None:
        """Count a time for which the event loop stood still."""
        self._stalls.duration_s += event.stalled_s
        self._stalls.buckets[bisect_left(STALL_BUCKETS_S, event.stalled_s)] += 1

    def count_epoch_change(self, _: JobsLost) -> None:
        """Count that the store is not the one we knew."""
        self._epoch_changes += 1

    def counted(
        self,
        *,
        active_workers: int,
        loop_lag_s: float = 0.0,
        quiet_processes: int = 0,
        abandoned: int = 0,
        deliveries: Iterable[tuple[str, str, int]] = (),
    ) -> Counted:
        """Return the counters as they are now; they are copies."""
        own = [(queue, job_type, series) for (queue, job_type), series in self._series.items()]
        now = Counted(own, active_workers, self._stalls, loop_lag_s, quiet_processes, abandoned, self._epoch_changes)
        now.deliveries = [(self._type_label(job_type), outcome, number) for job_type, outcome, number in deliveries]
        return add_up([now])

    def gauges(self, queues: Iterable[QueueStats]) -> dict[str, QueueGauges]:
        """Return the figures of queues, by label."""
        gauges: dict[str, QueueGauges] = {}
        for stats in queues:
            gauges.setdefault(self.queue_label(stats.name), QueueGauges()).add(stats)
        return gauges

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
