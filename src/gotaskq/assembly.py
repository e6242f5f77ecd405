"""How the parts of an app are put together; `app.py` holds the result.

Settings belong to the process, choices to the app (docs/decisions/0009), and each part is made of both.
"""

import contextlib
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import NamedTuple

from gotaskq.backend import Backend, ChecksItself, Finding, ReportsHealth, TellsOfLosses
from gotaskq.backends import is_local, open_backend
from gotaskq.board import KeepsBoards
from gotaskq.callback_secrets import callback_secrets
from gotaskq.clock import Clock, SystemClock
from gotaskq.config import Settings
from gotaskq.descriptions import notices_of
from gotaskq.engine.admission import Admission
from gotaskq.engine.bus import EventBus
from gotaskq.engine.leasing import Leasing
from gotaskq.engine.options import WorkerOptions
from gotaskq.engine.queue_retry import QueueRetry
from gotaskq.engine.rates import FinishRates
from gotaskq.engine.refusal import refusal_of
from gotaskq.engine.registry import Registry
from gotaskq.engine.requests import JobRequest, JobType
from gotaskq.engine.stepper import Stepper
from gotaskq.engine.submission import EnqueueMiddleware, Surrounded
from gotaskq.engine.worker import Worker
from gotaskq.errors import InvalidRequestError, QueueExistsError
from gotaskq.events import JobsLost
from gotaskq.governing import GovernsQueues
from gotaskq.happening_log import HappeningLog, SharesHappenings
from gotaskq.job import Job
from gotaskq.kinds import mask_url
from gotaskq.policies.ordering import Ordering, PriorityFifo
from gotaskq.policies.retry import ExponentialBackoff, RetryPolicy
from gotaskq.policies.scheduling import QueueSelector, RoundRobin, Weighted
from gotaskq.presence import WORKERS, Presence
from gotaskq.store_limits import StoreLayout, StoreLimits
from gotaskq.task import AnyTask
from gotaskq.type_sharing import TYPES, TypeSharing
from gotaskq.types_elsewhere import TypesElsewhere


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

    def backend_name(self, settings: Settings) -> str:
        """Return where the jobs live, for people: a URL without its password, or the class of a backend."""
        backend = self.backend_or(settings)
        return mask_url(backend) if isinstance(backend, str) else type(backend).__name__


class Opened(NamedTuple):
    """What exists only while an app is open."""

    backend: Backend
    admission: Admission
    elsewhere: TypesElsewhere
    sharing: TypeSharing | None  # None: nobody else sees the store
    leasing: Leasing
    log: HappeningLog | None  # None: each process tells of its own
    presence: Presence

    async def close(self) -> None:
        """Close all of it."""
        await self.presence.close()
        await self.leasing.close()
        await self.backend.close()

    @property
    def is_reachable(self) -> bool:
        """Whether the store answered when it was last asked; one that is always there counts as one that did."""
        return not isinstance(self.backend, ReportsHealth) or self.backend.is_reachable

    async def check(self) -> list[Finding]:
        """Return what is wrong with the store; one that has nothing to set up has no findings."""
        return await self.backend.check() if isinstance(self.backend, ChecksItself) else []


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
        idempotency_ttl_ms=settings.idempotency_ttl_ms,
        max_idempotency_keys=settings.max_idempotency_keys,
    )
    layout = StoreLayout(
        key_prefix=settings.key_prefix, partitions=settings.partitions, outage_grace_ms=settings.lease_ms
    )
    return open_backend(backend, limits=limits, layout=layout, clock=choices.clock, rng=choices.rng)


async def open_parts(
    choices: Choices,
    settings: Settings,
    *,
    bus: EventBus,
    registry: Registry,
    tasks: Mapping[str, AnyTask],
    rates: FinishRates | None = None,
    more_types: Mapping[str, JobType] | None = None,
) -> Opened:
    """Open the store of an app, with the queues its tasks name, and make its door; raises ConfigError."""
    types = {**(more_types or {}), **types_of(tasks)}
    elsewhere = TypesElsewhere(types, registry.types)
    backend = make_backend(choices, settings)
    if isinstance(backend, TellsOfLosses):
        backend.hear_losses(lambda partition: bus.publish(JobsLost(partition)))
    await backend.open()
    try:
        admission = make_admission(
            choices, settings, backend=backend, bus=bus, types=types, known_types=elsewhere.names, rates=rates
        )
        await create_queues(admission, (known.queue for known in types.values()))
    except BaseException:
        await backend.close()
        raise
    sharing = None
    if isinstance(backend, KeepsBoards) and not is_local(backend):
        sharing = TypeSharing(
            backend.board(TYPES),
            elsewhere,
            admission,
            notices=lambda: notices_of(tasks, registry.types()),
            clock=choices.clock,
            rng=choices.rng,
        )
    presence = Presence(
        backend.board(WORKERS) if isinstance(backend, KeepsBoards) else None,
        is_shared=not is_local(backend),
        queues=settings.queues,
        types=registry.types,
        clock=choices.clock,
        rng=choices.rng,
    )
    leasing = _make_leasing(choices, settings, admission, backend, registry, bus, presence)
    log = backend.happenings if isinstance(backend, SharesHappenings) and not is_local(backend) else None
    return Opened(backend, admission, elsewhere, sharing, leasing, log, presence)


def types_of(tasks: Mapping[str, AnyTask]) -> dict[str, JobType]:
    """Return what the door must know of each task."""
    return {job_type: task.at_the_door for job_type, task in tasks.items()}


def make_admission(
    choices: Choices,
    settings: Settings,
    *,
    backend: Backend,
    bus: EventBus,
    types: Mapping[str, JobType],
    known_types: Callable[[], Iterable[str]],
    rates: FinishRates | None = None,
) -> Admission:
    """Make the door of an app."""
    admission = Admission(
        backend,
        bus=bus,
        clock=choices.clock,
        rng=choices.rng,
        ordering=choices.ordering or PriorityFifo(),
        max_retries=settings.max_retries,
        max_queue_depth=settings.max_queue_depth,
        rates=rates,
        types=types,
        only_types=known_types if settings.strict_types else None,
    )
    admission.callbacks.judge_url = _judge_callback_url if callback_secrets(settings) else None
    if choices.enqueue_middleware:
        admission.surround(partial(Surrounded, choices.enqueue_middleware))
    return admission


def _judge_callback_url(url: str) -> None:
    from gotaskq.delivery.destination import read_url
    from gotaskq.delivery.errors import DestinationError

    try:
        read_url(url)  # where it leads is judged when it is sent to
    except DestinationError as error:
        raise InvalidRequestError(f"callback.url: {error}", field="callback.url") from error


def make_stepper(choices: Choices, settings: Settings, backend: Backend, registry: Registry, bus: EventBus) -> Stepper:
    """Make what runs an app's jobs one by one."""
    return Stepper(
        backend,
        registry=registry,
        retry=_make_retry(choices, settings, backend),
        selector=_make_selector(choices, settings),
        bus=bus,
        clock=choices.clock,
        rng=choices.rng,
        worker=_worker_name(choices),
        lease_ms=settings.lease_ms,
        max_crashes=settings.max_crashes,
    )


def _make_leasing(
    choices: Choices,
    settings: Settings,
    admission: Admission,
    backend: Backend,
    registry: Registry,
    bus: EventBus,
    presence: Presence,
) -> Leasing:
    return Leasing(
        backend,
        registry=registry,
        retry=_make_retry(choices, settings, backend),
        bus=bus,
        clock=choices.clock,
        rng=choices.rng,
        lease_ms=settings.lease_ms,
        max_crashes=settings.max_crashes,
        is_closed=lambda: admission.is_closed,
        hear=presence.hear,
    )


async def create_queues(admission: Admission, queues: Iterable[str | None]) -> None:
    """Register the queues that are named and not there yet: whoever serves or fills one may be its first owner."""
    for queue in sorted({queue for queue in queues if queue is not None}):
        with contextlib.suppress(QueueExistsError):
            await admission.create_queue(queue)


async def submit_all(admission: Admission, requests: Sequence[JobRequest]) -> list[Job]:
    """Store all of the jobs or none; raises what the first refused one is refused for."""
    answers = await admission.submit_many(requests, atomic=True)
    if (refusal := refusal_of(answers)) is not None:
        raise refusal
    return [answer for answer in answers if isinstance(answer, Job)]


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
        retry=_make_retry(choices, settings, backend),
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
            has_real_time=isinstance(choices.clock, SystemClock),
        ),
    )


def _worker_name(choices: Choices) -> str:
    return f"{platform.node()}:{os.getpid()}:{choices.rng.getrandbits(64):016x}"


def _make_retry(choices: Choices, settings: Settings, backend: Backend) -> RetryPolicy:
    backoff = ExponentialBackoff(settings.base_delay_ms, settings.max_delay_ms)
    retry = choices.retry or backoff
    return QueueRetry(retry, backend.governor.rules, backoff=backoff) if isinstance(backend, GovernsQueues) else retry


def _make_selector(choices: Choices, settings: Settings) -> QueueSelector:
    if choices.selector is not None:
        return choices.selector()
    return RoundRobin() if settings.queues is None else Weighted(settings.queues)
