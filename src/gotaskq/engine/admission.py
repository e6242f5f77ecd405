"""Admission: the one door through which jobs come in, from HTTP, the library and the command line.

A request is checked, gets its id and rank, is stored, and only then announced.
Invariant: a job that was answered for is in the store; one that was refused left no trace.
"""

import re
import sys
from collections.abc import Sequence
from random import Random
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from gotaskq.backend import Backend, Enqueued
from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.engine.registry import JOB_TYPE, JOB_TYPE_RULE
from gotaskq.errors import (
    BackendUnavailableError,
    GotaskqError,
    InvalidRequestError,
    QueueExistsError,
    QueueFullError,
    QueueNotFoundError,
    ShuttingDownError,
    WithheldError,
)
from gotaskq.events import JobEnqueued, QueueCreated
from gotaskq.job import DEFAULT_QUEUE, MAX_PRIORITY, MIN_PRIORITY, Job
from gotaskq.policies.ordering import Ordering
from gotaskq.snowflake import SnowflakeIds

MAX_DELAY_S: Final = 31_536_000  # a year
MAX_MAX_RETRIES: Final = 100
MAX_PAYLOAD_BYTES: Final = 1 << 20
COLLISION_TRIES: Final = 3
KNOWN_NAMES: Final = 10_000  # names that skip the pattern; bounds what hostile callers can make us remember

QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
RESERVED_QUEUE_NAMES: Final = frozenset({"queue", "v1", ".", ".."})  # their HTTP path would mean something else


class JobRequest(msgspec.Struct, frozen=True, gc=False):
    """What a caller asks for; `max_retries` None means the app's default. `payload_json` has passed `check_payload`."""

    type: str
    payload_json: bytes = b"null"
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    delay_s: float = 0
    max_retries: int | None = None


class Admission:
    """Turns requests into stored jobs."""

    def __init__(
        self,
        backend: Backend,
        *,
        bus: EventBus,
        clock: Clock,
        rng: Random,
        ordering: Ordering,
        max_retries: int,
        max_queue_depth: int,
    ) -> None:
        self._backend = backend
        self._bus = bus
        self._clock = clock
        self._ids = SnowflakeIds(rng)
        # One nonce serves the whole process: within it ids never repeat, so id and nonce name one request.
        self._nonce = f"{rng.getrandbits(96):024x}"
        self._ordering = ordering
        self._default_max_retries = max_retries
        self._max_queue_depth = max_queue_depth
        self._known_types: dict[str, str] = {}
        self.is_closed = False

    async def submit(self, request: JobRequest) -> Job:
        """Admit one job and return it as stored.

        Raises InvalidRequestError, QueueNotFoundError, QueueFullError, ShuttingDownError or BackendUnavailableError; in
        each case nothing was stored (after BackendUnavailableError of a remote store: perhaps).
        """
        job = self.admit(request)
        [enqueued] = await self._backend.enqueue((job,))
        if enqueued is not Enqueued.OK:
            job = await self._settle_refusal(job, enqueued)
        self._announce(job)
        return job

    async def submit_many(self, requests: Sequence[JobRequest], *, atomic: bool) -> list[Job | GotaskqError]:
        """Admit many jobs in one call to the store, and return for each the job as stored or why it was not.

        With `atomic`, all or none: where one is refused, so are the others (as WithheldError).
        Raises ShuttingDownError or BackendUnavailableError.
        """
        admitted = [self._admit_or_error(request) for request in requests]
        if atomic and any(isinstance(job, GotaskqError) for job in admitted):
            return [job if isinstance(job, GotaskqError) else WithheldError() for job in admitted]
        jobs = [job for job in admitted if isinstance(job, Job)]
        replies = iter(zip(jobs, await self._backend.enqueue(jobs, atomic=atomic), strict=True))
        return [
            job if isinstance(job, GotaskqError) else await self._stored_or_error(*next(replies)) for job in admitted
        ]

    def _admit_or_error(self, request: JobRequest) -> Job | InvalidRequestError:
        try:
            return self.admit(request)
        except InvalidRequestError as error:
            return error

    async def _stored_or_error(self, job: Job, enqueued: Enqueued) -> Job | GotaskqError:
        try:
            if enqueued is not Enqueued.OK:
                job = await self._settle_refusal(job, enqueued)
        except (QueueFullError, QueueNotFoundError, WithheldError, BackendUnavailableError) as error:
            return error
        self._announce(job)
        return job

    def admit(self, request: JobRequest) -> Job:
        """Check a request and make its job; raises InvalidRequestError or ShuttingDownError."""
        if self.is_closed:
            raise ShuttingDownError
        job_type = self._known_types.get(request.type) or self._learn_type(request.type)
        priority = request.priority
        if type(priority) is not int or not MIN_PRIORITY <= priority <= MAX_PRIORITY:
            raise InvalidRequestError("priority must be between 0 and 10", field="priority")
        now_ms = self._clock.now_ms()
        delay_ms = 0 if request.delay_s == 0 else _delay_ms(request.delay_s)
        return Job(
            id=self._ids.draw(now_ms),
            type=job_type,
            queue=request.queue,
            payload_json=request.payload_json,
            priority=priority,
            delay_ms=delay_ms,
            max_retries=self._default_max_retries if request.max_retries is None else _retries(request.max_retries),
            rank=self._ordering.rank(priority=priority, created_at_ms=now_ms),
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            run_after_ms=now_ms + delay_ms if delay_ms else now_ms,
            enqueue_nonce=self._nonce,
        )

    async def create_queue(self, name: str) -> str:
        """Register a queue under its lower-cased name, and return that name.

        Raises InvalidRequestError for a name that cannot be one, QueueExistsError for one that is taken.
        """
        name = check_queue_name(name)
        if not await self._backend.create_queue(name):
            raise QueueExistsError(name)
        self._bus.publish(QueueCreated(name))
        return name

    def _announce(self, job: Job) -> None:
        if self._bus.is_observed(JobEnqueued):
            self._bus.publish(JobEnqueued(job))

    def _learn_type(self, job_type: str) -> str:
        """Check a type's name; remember it, so that a million jobs of one type share one string."""
        if not job_type:
            raise InvalidRequestError("type is required", field="type")
        if JOB_TYPE.fullmatch(job_type) is None:
            raise InvalidRequestError(f"type must be {JOB_TYPE_RULE}", field="type")
        if len(self._known_types) < KNOWN_NAMES:
            self._known_types[job_type] = sys.intern(job_type)
        return job_type

    async def _settle_refusal(self, job: Job, enqueued: Enqueued) -> Job:
        match enqueued:
            case Enqueued.OK | Enqueued.DUPLICATE:
                return job
            case Enqueued.COLLISION:
                return await self._draw_again(job)
            case Enqueued.FULL:
                raise QueueFullError(job.queue, max_depth=self._max_queue_depth)
            case Enqueued.NO_QUEUE:
                raise QueueNotFoundError(job.queue)
            case Enqueued.WITHHELD:
                raise WithheldError
            case never:
                assert_never(never)

    async def _draw_again(self, job: Job) -> Job:
        for _ in range(COLLISION_TRIES):
            job = replace(job, id=self._ids.draw(self._clock.now_ms()))
            [enqueued] = await self._backend.enqueue((job,))
            if enqueued is not Enqueued.COLLISION:
                return await self._settle_refusal(job, enqueued)
        raise BackendUnavailableError(f"{COLLISION_TRIES} ids in a row were taken; is a clock far off?")


def check_queue_name(name: str) -> str:
    """Return the lower-cased name; raises InvalidRequestError for one that cannot name a queue."""
    if QUEUE_NAME.fullmatch(name) is None:
        raise InvalidRequestError("queue name must be 1 to 64 of A-Z a-z 0-9 . _ -", field="queue")
    if name.lower() in RESERVED_QUEUE_NAMES:
        raise InvalidRequestError(f"queue name {name.lower()!r} is reserved", field="queue")
    return name.lower()


def _delay_ms(delay_s: float) -> int:
    # `not 0 <= x <= MAX` and not the reverse: NaN must fall on the refusing side.
    if type(delay_s) not in (int, float) or not 0 <= delay_s <= MAX_DELAY_S:
        raise InvalidRequestError(f"delay must be between 0 and {MAX_DELAY_S} seconds", field="delay")
    return round(delay_s * 1000)


def _retries(max_retries: int) -> int:
    if type(max_retries) is not int or not 0 <= max_retries <= MAX_MAX_RETRIES:
        raise InvalidRequestError(f"max_retries must be between 0 and {MAX_MAX_RETRIES}", field="max_retries")
    return max_retries
