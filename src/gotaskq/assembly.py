"""How the parts of an app are put together; `app.py` holds the result.

Settings belong to the process, choices to the app (docs/decisions/0009), and each part is made of both.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import NamedTuple

from gotaskq.backend import Backend, StoreLayout, StoreLimits
from gotaskq.backends import open_backend
from gotaskq.clock import Clock
from gotaskq.config import Settings
from gotaskq.engine.admission import Admission
from gotaskq.engine.bus import EventBus
from gotaskq.engine.registry import Registry
from gotaskq.engine.stepper import Stepper
from gotaskq.engine.submission import EnqueueMiddleware, Surrounded
from gotaskq.engine.worker import Worker, WorkerOptions
from gotaskq.events import JobDied, JobDone, JobEnqueued, JobRetryScheduled
from gotaskq.metrics import Metrics
from gotaskq.policies.ordering import Ordering, PriorityFifo
from gotaskq.policies.retry import ExponentialBackoff, RetryPolicy
from gotaskq.policies.scheduling import QueueSelector, RoundRobin, Weighted


@dataclass(frozen=True, slots=True)
class Choices:
    """What a program named when it made its app; None leaves it to the settings."""

    backend: str | Backend | None
    retry: RetryPolicy | None
    ordering: Ordering | None
    selector: Callable[[], QueueSelector] | None
    clock: Clock
    rng: Random
    enqueue_middleware: tuple[EnqueueMiddleware, ...] = ()

    def backend_or(self, settings: Settings) -> str | Backend:
        """Return the backend, or the URL of one."""
        return settings.effective_backend_url if self.backend is None else self.backend


class Opened(NamedTuple):
    """What exists only while an app is open."""

    backend: Backend
    admission: Admission


def make_backend(choices: Choices, settings: Settings) -> Backend:
    """Make the backend of an app, not open yet; raises ConfigError."""
    backend = choices.backend_or(settings)
    if not isinstance(backend, str):
        return backend
    limits = StoreLimits(
        max_queue_depth=settings.max_queue_depth,
        complete_job_ttl_ms=settings.complete_job_ttl_ms,
        max_completed_jobs=settings.max_completed_jobs,
        max_dead_jobs=settings.max_dead_jobs,
        dead_job_ttl_ms=settings.dead_job_ttl_ms,
    )
    layout = StoreLayout(
        key_prefix=settings.key_prefix, partitions=settings.partitions, outage_grace_ms=settings.lease_ms
    )
    return open_backend(backend, limits=limits, layout=layout, clock=choices.clock, rng=choices.rng)


def make_admission(choices: Choices, settings: Settings, *, backend: Backend, bus: EventBus) -> Admission:
    """Make the door of an app."""
    admission = Admission(
        backend,
        bus=bus,
        clock=choices.clock,
        rng=choices.rng,
        ordering=choices.ordering or PriorityFifo(),
        max_retries=settings.max_retries,
        max_queue_depth=settings.max_queue_depth,
    )
    if choices.enqueue_middleware:
        admission.surround(partial(Surrounded, choices.enqueue_middleware))
    return admission


def make_stepper(choices: Choices, settings: Settings, backend: Backend, registry: Registry, bus: EventBus) -> Stepper:
    """Make what runs an app's jobs one by one."""
    return Stepper(
        backend,
        registry=registry,
        retry=_make_retry(choices, settings),
        selector=_make_selector(choices, settings),
        bus=bus,
        clock=choices.clock,
        rng=choices.rng,
        worker=_worker_name(choices),
        lease_ms=settings.lease_ms,
        max_crashes=settings.max_crashes,
    )


def make_worker(
    choices: Choices,
    settings: Settings,
    *,
    backend: Backend,
    registry: Registry,
    bus: EventBus,
    concurrency: int | None,
    burst: bool,
    max_jobs: int | None,
) -> Worker:
    """Make a worker of an app; `concurrency` None is NUM_WORKERS."""
    return Worker(
        backend,
        registry=registry,
        retry=_make_retry(choices, settings),
        selector=_make_selector(choices, settings),
        bus=bus,
        clock=choices.clock,
        rng=choices.rng,
        options=WorkerOptions(
            name=_worker_name(choices),
            concurrency=settings.num_workers if concurrency is None else concurrency,
            lease_ms=settings.lease_ms,
            shutdown_timeout_s=settings.shutdown_timeout_ms / 1000,
            max_crashes=settings.max_crashes,
            queues=None if settings.queues is None else frozenset(settings.queues),
            burst=burst,
            max_jobs=max_jobs,
        ),
    )


def count_events(metrics: Metrics, bus: EventBus) -> None:
    """Let the metrics hear of every event they count."""
    bus.subscribe_to_batches(JobEnqueued, metrics.count_enqueued)
    bus.subscribe_to_batches(JobDone, metrics.count_done)
    bus.subscribe(JobRetryScheduled, metrics.count_retried)
    bus.subscribe(JobDied, metrics.count_dead)


def _worker_name(choices: Choices) -> str:
    return f"{platform.node()}:{os.getpid()}:{choices.rng.getrandbits(64):016x}"


def _make_retry(choices: Choices, settings: Settings) -> RetryPolicy:
    return choices.retry or ExponentialBackoff(settings.base_delay_ms, settings.max_delay_ms)


def _make_selector(choices: Choices, settings: Settings) -> QueueSelector:
    if choices.selector is not None:
        return choices.selector()
    return RoundRobin() if settings.queues is None else Weighted(settings.queues)
