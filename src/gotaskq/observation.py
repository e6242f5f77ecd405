"""What is to be seen of an app: its counters, those of its sibling processes, and the page made of them.

Held by the app; surfaces ask it.
"""

from collections.abc import Awaitable, Callable, Sequence

from gotaskq.engine.bus import EventBus
from gotaskq.engine.registry import Registry
from gotaskq.engine.worker import Worker
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import JobDied, JobDone, JobEnqueued, JobRetryScheduled, JobsLost, LoopStalled
from gotaskq.governing import QueueStats
from gotaskq.metrics import Counted, Metrics


class Observation:
    """Counts what the bus tells, and looks at the workers."""

    def __init__(
        self,
        bus: EventBus,
        workers: Sequence[Worker],
        registry: Registry,
        *,
        deliveries: Callable[[], list[tuple[str, str, int]]],
    ) -> None:
        self._workers = workers
        self._registry = registry
        self._deliveries = deliveries
        self._metrics = metrics = Metrics(has_handler=registry.is_run)
        self._gather: Callable[[], Awaitable[Counted]] = self.counted
        bus.subscribe_to_batches(JobEnqueued, metrics.count_enqueued)
        bus.subscribe_to_batches(JobDone, metrics.count_done)
        bus.subscribe(JobRetryScheduled, metrics.count_retried)
        bus.subscribe(JobDied, metrics.count_dead)
        bus.subscribe(LoopStalled, metrics.count_stall)
        bus.subscribe(JobsLost, metrics.count_epoch_change)

    async def counted(self) -> Counted:
        """Return what this process has counted, and what is to be seen of its workers now."""
        return self._metrics.counted(
            active_workers=sum(worker.busy for worker in self._workers),
            loop_lag_s=max((worker.loop_lag_s for worker in self._workers), default=0.0),
            quiet_processes=int(any(worker.is_quiet for worker in self._workers)),
            # Executors are the app's, so what they left behind counts once, however many workers there are.
            abandoned=sum(worker.abandoned_on_loop for worker in self._workers) + self._registry.abandoned,
            deliveries=self._deliveries(),
        )

    def gather_with(self, gather: Callable[[], Awaitable[Counted]]) -> None:
        """Let `gather` say what the page counts; for a process that is one of several."""
        self._gather = gather

    async def page(self, look: Callable[[], Awaitable[Sequence[QueueStats]]]) -> bytes:
        """Return the metrics page, with the queues' figures as `look` sees them; while the store is away, without."""
        from gotaskq.prometheus import render

        try:
            queues = await look()
        except BackendUnavailableError:  # the counters are wanted most when something is wrong
            queues = ()
        return render(await self._gather(), queues=self._metrics.gauges(queues))
