"""Jobs with a callback: how they and the jobs that will tell of their ends come into the store.

Used by admission, for those few requests that have one.
Invariant: a job and its callback are stored in one step or not at all, so there is never the one without the other.
"""

import contextlib
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from gotaskq.backend import Backend, Enqueued, EnqueueReply, Existing
from gotaskq.callback import CALLBACK_QUEUE, CALLBACK_TYPE, Callback, Errand, checked_callback, with_mark
from gotaskq.engine.bus import EventBus
from gotaskq.engine.keying import found
from gotaskq.engine.requests import JobRequest
from gotaskq.errors import (
    BackendUnavailableError,
    GotaskqError,
    InvalidRequestError,
    JobGoneError,
    NotFoundError,
    QueueBusyError,
    QueueDrainingError,
    UnavailableError,
    WithheldError,
)
from gotaskq.events import QueueCreated
from gotaskq.job import Job, JobId

if TYPE_CHECKING:
    from gotaskq.engine.ways import Answers, Requests

OK: Final = Enqueued.OK
TRIES: Final = 3  # ids that are taken, a queue that has to be made, a unique key that was let go meanwhile
FIRST_LOOK_MS: Final = 1_000  # most jobs have ended by then, and hastened their callback when they did
LATEST_FIRST_LOOK_MS: Final = 900_000
MAX_RETRIES: Final = 12  # with the backoff of callbacks a little more than three hours

MOULD: Final = Job(
    id=JobId(0),
    type=CALLBACK_TYPE,
    queue=CALLBACK_QUEUE,
    payload_json=b"",
    priority=0,
    delay_ms=FIRST_LOOK_MS,
    max_retries=MAX_RETRIES,
    rank=0,
    created_at_ms=0,
    updated_at_ms=0,
    run_after_ms=0,
    enqueue_nonce="",
)
_CALLBACK: Final = attrgetter("callback")
REFUSALS: Final = (InvalidRequestError, NotFoundError, QueueBusyError, QueueDrainingError, WithheldError)


class _Pair(NamedTuple):
    """A job, and the one that will tell of its end, if any."""

    job: Job
    teller: Job | None


class CallbackIntake:
    """The way into the store for jobs with a callback."""

    def __init__(
        self,
        backend: Backend,
        bus: EventBus,
        *,
        make: "Callable[[Requests], Answers]",
        beside: Callable[[Job, Job, bytes], Job],
        accept: Callable[[Job, EnqueueReply], Job],
        plain: "Callable[[Requests], Awaitable[Answers]]",
    ) -> None:
        """Take admission's ways to make jobs, to make one beside another, to announce, and to store the others."""
        self._backend = backend
        self._bus = bus
        self._make_jobs = make
        self._make_beside = beside
        self._accept = accept
        self._store_plain = plain
        self.judge_url: Callable[[str], None] | None = None  # raises InvalidRequestError; None: callbacks are off
        self.hear: Callable[[], None] | None = None  # told when a callback was stored

    async def store(self, request: JobRequest) -> Job:
        """Store one job; raises as `Admission.submit`."""
        tries_left = TRIES
        while True:
            [answer] = await self._store_together([request])
            if isinstance(answer, Job):
                return answer
            tries_left -= 1
            # A job that was found by a unique key and is gone has let go of the key.
            is_free_again = isinstance(answer, JobGoneError) and request.idempotency_key is None
            if not (is_free_again and tries_left):
                raise answer

    async def store_many(self, requests: "Requests", *, atomic: bool) -> "Answers":
        """Store many jobs, some of them with callbacks; as `Admission.submit_many`."""
        if atomic:
            return await self._store_together(requests)
        answers = iter(await self._store_plain([request for request in requests if _is_for_others(request)]))
        return [await self._store_or_error(request) or next(answers) for request in requests]

    async def _store_or_error(self, request: JobRequest | InvalidRequestError) -> Job | GotaskqError | None:
        """Store a job with a callback; None for another, which was stored with those of its kind."""
        if not isinstance(request, JobRequest) or request.callback is None:
            return None
        try:
            return await self.store(request)
        except (*REFUSALS, UnavailableError) as error:
            return error

    async def _store_together(self, requests: "Requests") -> "Answers":
        """Store the jobs of requests and their callbacks, all or none."""
        for _ in range(TRIES):
            made = [self._pair(*one) for one in zip(requests, self._make_jobs(requests), strict=True)]
            pairs = [pair for pair in made if isinstance(pair, _Pair)]
            if len(pairs) < len(made):
                return [WithheldError() if isinstance(one, _Pair) else one for one in made]
            jobs, tellers = [pair.job for pair in pairs], [pair.teller for pair in pairs if pair.teller is not None]
            try:
                replies = list(await self._backend.enqueue([*jobs, *tellers], atomic=True))
            except BackendUnavailableError as error:
                return [BackendUnavailableError(str(error), job_id=job.id) for job in jobs]
            except UnavailableError as error:
                return [error] * len(jobs)
            if Enqueued.NO_QUEUE in replies[len(jobs) :]:
                await self._make_queue()
            elif Enqueued.COLLISION not in replies:
                break
        of_jobs, of_tellers = replies[: len(jobs)], iter(replies[len(jobs) :])
        of_theirs = [None if pair.teller is None else next(of_tellers) for pair in pairs]
        return [await self._answer(*one) for one in zip(pairs, of_theirs, of_jobs, strict=True)]

    def _pair(self, request: JobRequest | InvalidRequestError, job: Job | GotaskqError) -> _Pair | GotaskqError:
        if not isinstance(job, Job) or not isinstance(request, JobRequest):
            return job if isinstance(job, GotaskqError) else _Pair(job, None)
        if request.callback is None:
            return _Pair(job, None)
        try:
            teller = self._teller_of(job, self._checked(request.callback))
        except (InvalidRequestError, QueueDrainingError, QueueBusyError) as error:
            return error
        return _Pair(with_mark(job, teller.id), teller)

    def _checked(self, callback: Callback) -> Callback:
        if self.judge_url is None:
            message = "callback cannot be carried out: there is no CALLBACK_SECRET to sign it with"
            raise InvalidRequestError(message, field="callback")
        self.judge_url(checked_callback(callback).url)
        return callback

    def _teller_of(self, job: Job, callback: Callback) -> Job:
        errand = Errand(str(job.id), job.type, job.queue, callback.url, callback.on)
        delay_ms = FIRST_LOOK_MS + min(job.delay_ms, LATEST_FIRST_LOOK_MS)
        mould = replace(MOULD, delay_ms=delay_ms, enqueue_nonce=job.enqueue_nonce)
        return self._make_beside(job, mould, msgspec.json.encode(errand))

    async def _make_queue(self) -> None:
        """Register the queue of callbacks: with the first one, so that who has none does not see it."""
        if await self._backend.create_queue(CALLBACK_QUEUE):
            self._bus.publish(QueueCreated(CALLBACK_QUEUE))

    async def _answer(self, pair: _Pair, of_teller: EnqueueReply | None, reply: EnqueueReply) -> Job | GotaskqError:
        job, teller = pair
        try:
            if isinstance(reply, Existing):
                await self._withdraw(teller, of_teller)
                return await found(reply, self._backend) or JobGoneError(reply.job_id)
            if teller is not None and of_teller is not None and (of_teller is OK or reply is Enqueued.WITHHELD):
                self._accept(teller, of_teller)  # raises what it was refused for, and the job for that
            if of_teller is OK and self.hear is not None:
                self.hear()
            return self._accept(job, reply)
        except (*REFUSALS, UnavailableError) as error:
            return error

    async def _withdraw(self, teller: Job | None, reply: EnqueueReply | None) -> None:
        """Take back the callback of a job that was not stored, since another is there by its key."""
        if teller is not None and reply is OK:
            with contextlib.suppress(UnavailableError):  # then it finds no job to tell of
                await self._backend.cancel(teller.id)


def have_callbacks(requests: "Requests") -> bool:
    """Say whether any of these requests has a callback; asked of each batch, so no Python runs for a request."""
    try:
        return any(map(_CALLBACK, requests))
    except AttributeError:  # one of them could not even be read
        return not all(map(_is_for_others, requests))


def _is_for_others(request: JobRequest | InvalidRequestError) -> bool:
    return not isinstance(request, JobRequest) or request.callback is None
