"""The metrics page: the counters and gauges in Prometheus' text format.

The only module that imports prometheus_client; the app imports it when somebody asks for the page.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from gotaskq.metrics import BUCKETS_S, STALL_BUCKETS_S, Counted, QueueGauges

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(counted: Counted, *, queues: Mapping[str, QueueGauges]) -> bytes:
    """Return the page: what was counted, and the figures of queues by their label."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(counted, queues))
    return generate_latest(registry)


class _Page:
    """What one scrape shows."""

    def __init__(self, counted: Counted, queues: Mapping[str, QueueGauges]) -> None:
        self._counted = counted
        self._queues = queues

    def collect(self) -> Iterable[Metric]:
        """Return all families."""
        yield from self._counters()
        yield from self._of_queues()
        active = self._counted.active_workers
        yield GaugeMetricFamily("gotaskq_active_workers", "Slots that run an attempt now.", value=active)
        abandoned = self._counted.abandoned
        yield GaugeMetricFamily("gotaskq_abandoned_handlers", "Handlers that would not end.", value=abandoned)
        quiet = self._counted.quiet_processes
        yield GaugeMetricFamily("gotaskq_quiet_processes", "Processes told to fetch no more jobs.", value=quiet)
        yield from self._loop()
        yield self._deliveries()
        changes = CounterMetricFamily("gotaskq_backend_epoch_changes", "Times the store had lost a partition's jobs.")
        changes.add_metric([], self._counted.epoch_changes)
        yield changes

    def _deliveries(self) -> Metric:
        family = CounterMetricFamily(
            "gotaskq_deliveries", "Jobs sent to URLs, by how it ended.", labels=["type", "outcome"]
        )
        for job_type, outcome, number in self._counted.deliveries:
            family.add_metric([job_type, outcome], number)
        return family

    def _of_queues(self) -> Iterable[Metric]:
        depth = _queue_gauge("queue_depth", "Jobs that wait, due or not.")
        jobs = _queue_gauge("jobs", "Jobs by where they are.", "state")
        oldest = _queue_gauge("queue_oldest_ready_seconds", "For how long the oldest ready job has been due.")
        paused = _queue_gauge("queue_paused", "Whether the queue is paused.")
        dead = _queue_gauge("dlq_depth", "Dead jobs that were not replayed or deleted.")
        for label, queue in self._queues.items():
            depth.add_metric([label], queue.ready + queue.scheduled)
            for state in ("ready", "scheduled", "running", "dead"):
                jobs.add_metric([label, state], getattr(queue, state))
            oldest.add_metric([label], queue.oldest_ready_s)
            paused.add_metric([label], queue.paused)
            dead.add_metric([label], queue.dead)
        return [depth, jobs, oldest, paused, dead]

    def _loop(self) -> Iterable[Metric]:
        stalls = HistogramMetricFamily("gotaskq_loop_stall_seconds", "How long the event loop stood still.")
        about = self._counted.stalls
        stalls.add_metric([], _cumulated(STALL_BUCKETS_S, about.buckets), about.duration_s)
        yield stalls
        lag_s = self._counted.loop_lag_s
        text = "By how much the event loop was late at worst in the last 15 s."
        yield GaugeMetricFamily("gotaskq_event_loop_lag_seconds", text, value=lag_s)

    def _counters(self) -> Iterable[Metric]:
        enqueued = _counter("jobs_enqueued", "Jobs accepted.")
        processed = _counter("jobs_processed", "Attempts that ended, by how.", "status")
        retried = _counter("jobs_retried", "Failed attempts that will be retried.")
        dead = _counter("jobs_dead", "Jobs given up on.")
        durations = HistogramMetricFamily(
            "gotaskq_job_duration_seconds", "How long attempts took.", labels=["queue", "type"]
        )
        for queue, job_type, series in self._counted.series:
            labels = [queue, job_type]
            enqueued.add_metric(labels, series.enqueued)
            processed.add_metric([*labels, "done"], series.done)
            processed.add_metric([*labels, "failed"], series.failed)
            retried.add_metric(labels, series.retried)
            dead.add_metric(labels, series.dead)
            durations.add_metric(labels, _cumulated(BUCKETS_S, series.buckets), series.duration_s)
        return [enqueued, processed, durations, retried, dead]


def _counter(name: str, documentation: str, *more_labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"gotaskq_{name}", documentation, labels=["queue", "type", *more_labels])


def _queue_gauge(name: str, documentation: str, *more_labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gotaskq_{name}", documentation, labels=["queue", *more_labels])


def _cumulated(bounds_s: Iterable[float], buckets: list[int]) -> list[tuple[str, float]]:
    total = 0
    rows: list[tuple[str, float]] = []
    for bound, count in zip([*map(str, bounds_s), "+Inf"], buckets, strict=True):
        total += count
        rows.append((bound, total))
    return rows
