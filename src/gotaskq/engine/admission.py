"""Admission: the one door through which jobs come in, from HTTP, the library and the command line.

A request is checked, gets its id and rank, is stored, and only then announced.
Invariant: a job that was answered for is in the store; one that was refused left no trace.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Final, assert_never

from msgspec.structs import replace

from gotaskq.backend import Backend, Enqueued, EnqueueReply, EnqueuesNow, Existing, IsPartitioned
from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.engine.callback_intake import CallbackIntake, have_callbacks
from gotaskq.engine.gate import NOBODY_NAMED_RETRIES, Gate
from gotaskq.engine.keying import found, gathered, with_keys
from gotaskq.engine.limits import checked_priority, checked_retries, delay_ms, timeouts
from gotaskq.engine.rates import FinishRates
from gotaskq.engine.registry import checked_type
from gotaskq.engine.replies import Known, enqueue_each, what_is_known
from gotaskq.engine.requests import JobRequest, JobType
from gotaskq.engine.ways import Answers, Requests, Straight, Submits
from gotaskq.errors import (
    BackendUnavailableError,
    GotaskqError,
    InvalidRequestError,
    KeyReusedError,
    NotFoundError,
    QueueBusyError,
    QueueDrainingError,
    QueueExistsError,
    QueueNotFoundError,
    Quota,
    ShuttingDownError,
    StoreFullError,
    UnavailableError,
    UnknownJobTypeError,
    WithheldError,
)
from gotaskq.events import JobEnqueued, QueueCreated
from gotaskq.governing import GovernsQueues
from gotaskq.headers import encode_headers
from gotaskq.job import DEFAULT_QUEUE, Job, JobId
from gotaskq.names import check_queue_name
from gotaskq.partly_stored import Told
from gotaskq.policies.ordering import Ordering
from gotaskq.snowflake import SnowflakeIds, SpreadIds, partition_of

OK: Final = Enqueued.OK
COLLISION_TRIES: Final = 3
KEYS_FULL: Final = "the store remembers as many idempotency keys as it may, and forgets none before its time"
KEYS_RETRY_AFTER_S: Final = 30  # a guess: keys run out one by one, as fast as they came when they were new
MAX_MOULDS: Final = 4_096  # bounds what hostile callers can make us remember


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
        rates: FinishRates | None = None,
        types: Mapping[str, JobType] | None = None,
        only_types: Callable[[], Iterable[str]] | None = None,
    ) -> None:
        """Take jobs of any type, or with `only_types` of these; those in `types` are checked."""
        self._types = types or {}
        self._checks = {job_type: known.check for job_type, known in self._types.items()}
        self._only_types = only_types
        self._backend = backend
        self._now = backend if isinstance(backend, EnqueuesNow) else None
        self._bus = bus
        self._clock = clock
        partitions = backend.partitions if isinstance(backend, IsPartitioned) else 1
        self._spread = SpreadIds(rng, partitions=partitions) if partitions > 1 else None
        self._ids = self._spread or SnowflakeIds(rng)
        # One nonce serves the whole process: within it ids never repeat, so id and nonce name one request.
        self._nonce = f"{rng.getrandbits(96):024x}"
        self._ordering = ordering
        self._default_max_retries = max_retries
        governor = backend.governor if isinstance(backend, GovernsQueues) else None
        self._gate = Gate(governor, rates=rates, max_queue_depth=max_queue_depth)
        self.rules = self._gate.rules
        self._moulds: dict[object, Job] = {}
        self._forget_too: list[Callable[[], None]] = []
        self._instant_ms = 0
        self._ranks: dict[int, int] = {}  # of this instant, by priority
        self._way: Submits | None = None  # None: straight into the store
        self.is_closed = False
        self.callbacks = CallbackIntake(
            backend, bus, make=self._make_many, beside=self._cast_beside, accept=self._accepted, plain=self._store_plain
        )

    def learn(self, types: Mapping[str, JobType]) -> None:
        """Go by these types from now on; what was remembered with those before is forgotten."""
        self._types = types
        self._checks = {job_type: known.check for job_type, known in types.items()}
        self._moulds.clear()
        for forget in self._forget_too:
            forget()

    def forget_with(self, forget: Callable[[], None]) -> None:
        """Call this whenever moulds are not to be used any more, for those that keep some."""
        self._forget_too.append(forget)

    def surround(self, put_around: Callable[[Submits], Submits]) -> None:
        """Put something around every enqueue, and around what is there; none is immediate from now on."""
        self._way = put_around(self._way or Straight(self._store, self._store_many))
        self._now = None

    @property
    def is_immediate(self) -> bool:
        """Whether `submit_now` serves: the store takes jobs without waiting for anything."""
        return self._now is not None

    def check_payload_of(self, job_type: str, payload_json: bytes) -> None:
        """Raise InvalidPayloadError for a payload that no job of this type could come in with."""
        check = self._checks.get(job_type)
        if check is not None:
            check(payload_json)

    def quota(self, queue: str) -> Quota | None:
        """Return what is left of a queue's rate limit, if it has one."""
        return self._gate.quota(queue)

    def submit_now(self, request: JobRequest) -> Job:
        """Admit one job without keys and callback, where the store takes it at once; raises as `submit`."""
        return self.cast_now(self.mould(request), bytes(request.payload), request.headers)

    def cast_now(self, mould: Job, payload_json: bytes, headers: Mapping[str, str] | None = None) -> Job:
        """Admit one job of a known mould, where the store takes it at once; raises as `submit`."""
        if self._now is None:
            raise GotaskqError("this store has to be waited for; use submit")
        job = self._cast(mould, payload_json, self._clock.now_ms(), headers)
        enqueued = self._now.enqueue_now(job)
        if enqueued is OK:
            self._bus.publish(JobEnqueued(job))
            return job
        for _ in range(COLLISION_TRIES - 1):
            if enqueued is not Enqueued.COLLISION:
                break
            job = self._cast(mould, payload_json, self._clock.now_ms(), headers)
            enqueued = self._now.enqueue_now(job)
        return self._accepted(job, enqueued)

    async def submit(self, request: JobRequest) -> Job:
        """Admit one job and return it as stored; where a key of it is taken, the job that is there (`job.was_there`).

        Raises InvalidRequestError, JobGoneError, QueueNotFoundError, QueueBusyError, QueueDrainingError,
        ShuttingDownError or BackendUnavailableError; in each case nothing was stored (after the last, of a remote
        store: perhaps).
        """
        if self._now is not None and request.is_plain:
            return self.submit_now(request)
        return await (self._store(request) if self._way is None else self._way.submit(request))

    async def _store(self, request: JobRequest) -> Job:
        if request.callback is not None:
            return await self.callbacks.store(request)
        for _ in range(COLLISION_TRIES):
            self._next_partition()
            job = self.admit(request)
            try:
                [reply] = await self._backend.enqueue((job,))
            except BackendUnavailableError as error:
                raise BackendUnavailableError(str(error), job_id=job.id) from error
            if isinstance(reply, Existing):
                if (existing := await found(reply, self._backend)) is not None:
                    return existing
            elif reply is not Enqueued.COLLISION:
                return self._accepted(job, reply)
        raise _ids_taken()

    async def submit_many(self, requests: Requests, *, atomic: bool) -> Answers:
        """Admit many jobs in one call to the store, and return for each the job as stored or why it was not.

        A request that could not even be read comes as its error, and stays it. With `atomic`, all or none: where one is
        refused, so are the others (as WithheldError). A job of which the store did not say whether it has it comes as
        BackendUnavailableError with its `job_id`. Raises ShuttingDownError.
        """
        if self._way is not None:
            return await self._way.submit_many(requests, atomic=atomic)
        return await self._store_many(requests, atomic=atomic)

    async def _store_many(self, requests: Requests, *, atomic: bool) -> Answers:
        if have_callbacks(requests):
            return await self.callbacks.store_many(requests, atomic=atomic)
        return await self._store_plain(requests, atomic=atomic)

    async def _store_plain(self, requests: Requests, *, atomic: bool = False) -> Answers:
        self._next_partition()
        now_ms = self._clock.now_ms()
        admitted = [self._admit_or_error(request, now_ms) for request in requests]
        if atomic and any(isinstance(job, GotaskqError) for job in admitted):
            return [job if isinstance(job, GotaskqError) else WithheldError() for job in admitted]
        jobs = [job for job in admitted if isinstance(job, Job)]
        if atomic and self._spread is not None:
            jobs = gathered(jobs, self._spread, now_ms=now_ms)
        stored: set[JobId] = set()
        for _ in range(COLLISION_TRIES):
            replies = await enqueue_each(jobs, self._backend, atomic=atomic)
            if replies.count(OK) == len(admitted):
                self._bus.publish_batch([JobEnqueued(job) for job in jobs])
                return [*jobs]
            stored.update(job.id for job, reply in zip(jobs, replies, strict=True) if reply is Enqueued.OK)
            if Enqueued.COLLISION not in replies or any(isinstance(reply, UnavailableError) for reply in replies):
                break
            jobs = [self._drawn_again(job, reply) for job, reply in zip(jobs, replies, strict=True)]
        replies = [Enqueued.OK if job.id in stored else reply for job, reply in zip(jobs, replies, strict=True)]
        known = iter(zip(jobs, await what_is_known(jobs, replies, self._backend), strict=True))
        return [job if isinstance(job, GotaskqError) else self._accepted_or_error(*next(known)) for job in admitted]

    def _next_partition(self) -> None:
        if self._spread is not None:
            self._spread.turn()

    def _admit_or_error(self, request: JobRequest | InvalidRequestError, now_ms: int) -> Job | GotaskqError:
        if isinstance(request, InvalidRequestError):
            return request
        try:
            return self._make(request, now_ms)
        except (InvalidRequestError, QueueDrainingError, QueueBusyError) as error:
            return error

    def _drawn_again(self, job: Job, reply: Told) -> Job:
        # Those that were stored keep their ids: the store answers DUPLICATE when they are sent again.
        if reply is not Enqueued.COLLISION:
            return job
        now_ms = self._clock.now_ms()
        ids, spread = self._ids, self._spread
        return replace(job, id=ids.draw(now_ms) if spread is None else spread.draw_in(partition_of(job.id), now_ms))

    def _accepted_or_error(self, job: Job, known: Known) -> Job | GotaskqError:
        if not isinstance(known, Enqueued):
            return known
        try:
            return self._accepted(job, known)
        except (InvalidRequestError, NotFoundError, QueueBusyError, WithheldError, UnavailableError) as error:
            return error

    def admit(self, request: JobRequest) -> Job:
        """Check a request and make its job; raises InvalidRequestError or ShuttingDownError."""
        return self._make(request, self._clock.now_ms())

    def _make_many(self, requests: Requests) -> Answers:
        self._next_partition()
        now_ms = self._clock.now_ms()
        made = [self._admit_or_error(request, now_ms) for request in requests]
        jobs = [job for job in made if isinstance(job, Job)]
        if self._spread is None or len(jobs) < len(made):
            return made
        return [*gathered(jobs, self._spread, now_ms=now_ms)]

    def _cast_beside(self, job: Job, mould: Job, payload_json: bytes) -> Job:
        beside, spread = self._cast(mould, payload_json, job.created_at_ms, None), self._spread
        return beside if spread is None else replace(beside, id=spread.draw_in(partition_of(job.id), job.created_at_ms))

    def _make(self, request: JobRequest, now_ms: int) -> Job:
        job = self._cast(self.mould(request), bytes(request.payload), now_ms, request.headers)
        return with_keys(job, request, self._spread, now_ms=now_ms) if request.has_keys else job

    def mould(self, request: JobRequest) -> Job:
        """Check a request but for its payload and headers, and return the mould of its jobs.

        Requests of one kind come in thousands, so each kind is checked and made once; from then on only what no two
        jobs share is filled in (benchmarks/questions/in_process.py). Raises InvalidRequestError or ShuttingDownError.
        """
        if self.is_closed:
            raise ShuttingDownError
        # The classes too: True == 1 and 5.0 == 5, but what is refused once must be refused always.
        priority, delay, max_retries = request.priority, request.delay, request.max_retries
        timeout, schedule_timeout = request.timeout, request.schedule_timeout
        classes = (type(priority), type(delay), type(max_retries), type(timeout), type(schedule_timeout))
        kind = (request.type, request.queue, priority, delay, max_retries, timeout, schedule_timeout, classes)
        return self._moulds.get(kind) or self._make_mould(kind, request)

    def _cast(self, mould: Job, payload_json: bytes, now_ms: int, headers: Mapping[str, str] | None) -> Job:
        """Make a job of a mould; raises InvalidPayloadError, InvalidRequestError or ShuttingDownError."""
        if self.is_closed:
            raise ShuttingDownError
        if headers is not None:
            mould = replace(mould, headers_json=encode_headers(headers))
        check = self._checks.get(mould.type)
        if check is not None:
            check(payload_json)
        if now_ms == self._instant_ms:
            now_ms = self._instant_ms  # jobs of one millisecond share their integers: 32 bytes less for each
        else:
            self._instant_ms = now_ms
            self._ranks.clear()
        priority = mould.priority
        rank = self._ranks.get(priority)
        if rank is None:
            rank = self._ranks[priority] = self._ordering.rank(priority=priority, created_at_ms=now_ms)
        if self.rules and (rules := self.rules.get(mould.queue)) is not None:
            mould, rank = self._gate.judge(mould, rules, rank=rank, now_ms=now_ms)
        return replace(
            mould,
            id=self._ids.draw(now_ms),
            payload_json=payload_json,
            rank=rank,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            run_after_ms=now_ms + mould.delay_ms if mould.delay_ms else now_ms,
        )

    def _make_mould(self, kind: object, request: JobRequest) -> Job:
        if len(self._moulds) >= MAX_MOULDS:
            self._moulds.clear()
        job_type = checked_type(request.type)
        if self._only_types is not None and job_type not in (known := sorted(self._only_types())):
            raise UnknownJobTypeError(job_type, known)
        mould = self._moulds[kind] = self._cast_mould(job_type, request)
        return mould

    def _cast_mould(self, job_type: str, request: JobRequest) -> Job:
        known = self._types.get(job_type)
        queue, priority, max_retries = request.queue, request.priority, request.max_retries
        if known is not None:
            queue = queue or known.queue
            priority = known.priority if priority is None else priority
            max_retries = known.max_retries if max_retries is None else max_retries
        return Job(
            id=NOBODY_NAMED_RETRIES if max_retries is None else JobId(0),
            type=sys.intern(job_type),  # a million jobs of one type share one string
            queue=sys.intern(queue or DEFAULT_QUEUE),
            payload_json=b"",
            priority=0 if priority is None else checked_priority(priority),
            delay_ms=0 if request.delay is None else delay_ms(request.delay),
            max_retries=self._default_max_retries if max_retries is None else checked_retries(max_retries),
            timeouts=timeouts(request.timeout, request.schedule_timeout),
            rank=0,
            created_at_ms=0,
            updated_at_ms=0,
            run_after_ms=0,
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

    def _accepted(self, job: Job, reply: EnqueueReply) -> Job:
        """Announce a job that was stored; raise for one that was refused."""
        match reply:
            case Enqueued.OK:
                self._bus.publish(JobEnqueued(job))
                return job
            case Enqueued.DUPLICATE:
                return job
            case Enqueued.FULL:
                raise self._gate.full(job.queue)
            case Enqueued.TOO_FAST:
                raise self._gate.too_fast(job.queue)
            case Enqueued.NO_QUEUE:
                raise QueueNotFoundError(job.queue)
            case Enqueued.WITHHELD:
                raise WithheldError
            case Enqueued.KEY_REUSED:
                raise KeyReusedError
            case Enqueued.KEYS_FULL:
                raise StoreFullError(KEYS_RETRY_AFTER_S, reason=KEYS_FULL)
            case Existing():
                raise GotaskqError(f"the store found another job in the place of {job.id}, which has no keys")
            case Enqueued.COLLISION:
                raise _ids_taken()
            case never:
                assert_never(never)


def _ids_taken() -> BackendUnavailableError:
    return BackendUnavailableError(f"{COLLISION_TRIES} ids in a row were taken; is a clock far off?")
