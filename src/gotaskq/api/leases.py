"""Leases: the endpoints of workers in other programs, which take jobs out, renew and settle them.

A lease's id, for those outside, is `<job id>-<nonce>`; it says all that is needed, so any process can answer.
Invariant: a body is checked whole before anything is done, and a refusal names the member to blame.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Raw
from starlette.requests import Request
from starlette.routing import Route

from gotaskq.api.answers import Answer
from gotaskq.api.endpoints import endpoint
from gotaskq.api.long_requests import BUSY_WAITING, long_requests
from gotaskq.api.requests import read_body
from gotaskq.api.schemas import decode_members, encode_instant, encode_job
from gotaskq.app import TaskQ
from gotaskq.control import MAX_DELAY_S, Retry
from gotaskq.engine.leasing import Wish
from gotaskq.engine.registry import JOB_TYPE, JOB_TYPE_RULE
from gotaskq.errors import InvalidRequestError, LeaseNotFoundError, RemoteError
from gotaskq.failure import clip, clip_front, one_line
from gotaskq.job import DEFAULT_QUEUE, Job, JobId, Lease, held_lease
from gotaskq.names import check_queue_name
from gotaskq.outcome import Failed, Interrupted, Outcome, Snoozed, Succeeded
from gotaskq.payload import check_payload
from gotaskq.trail import MAX_NOTE_BYTES, MAX_STATE_BYTES, MAX_TRACEBACK_BYTES

MAX_LEASES: Final = 64  # in one answer
MAX_QUEUES: Final = 64
MAX_TYPES: Final = 64
MAX_WAIT_S: Final = 20  # less than what proxies and load balancers cut off
NO_VALUE: Final = Raw()

_LEASE = re.compile(r"([0-9]{1,20})-([0-9a-f]{1,64})")

LeaseSeconds = Annotated[float, Meta(ge=5, le=3_600)]
DelaySeconds = Annotated[float, Meta(ge=0, le=MAX_DELAY_S)]
M = TypeVar("M", bound=msgspec.Struct)


class Take(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The body of `POST /leases`; None counts as not given, here and in all that follow."""

    queues: Annotated[list[str], Meta(min_length=1, max_length=MAX_QUEUES)] | None = None
    types: Annotated[list[str], Meta(min_length=1, max_length=MAX_TYPES)] | None = None
    max: Annotated[int, Meta(ge=1, le=MAX_LEASES)] | None = None
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT_S)] | None = None
    lease: LeaseSeconds | None = None
    worker: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


class Beat(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The body of a heartbeat."""

    lease: LeaseSeconds | None = None
    progress: Annotated[float, Meta(ge=0, le=1)] | None = None
    note: str | None = None
    checkpoint: Raw = NO_VALUE


class Completion(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The body of `/complete`."""

    result: Raw = NO_VALUE


class Failure(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The body of `/fail`."""

    error: str | None = None
    traceback: str | None = None
    retry: bool | None = None
    delay: DelaySeconds | None = None


class Delay(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The body of `/snooze`."""

    delay: DelaySeconds | None = None


class Nothing(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The body of `/release`."""


class Leases:
    """The endpoints of workers elsewhere."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq

    def routes(self) -> list[Route]:
        """Return the routes."""
        acts = (self.heartbeat, self.complete, self.fail, self.snooze, self.release)
        return [
            Route("/leases", endpoint(self.take), methods=["POST"]),
            *(Route(f"/leases/{{lease}}/{act.__name__}", endpoint(act), methods=["POST"]) for act in acts),
        ]

    async def take(self, request: Request) -> Answer:
        """`POST /leases`: lend due jobs, as soon as there are any."""
        wish = self._wish(await _read(request, Take))
        with long_requests(request).waiting() as may_wait:
            if not may_wait:
                return BUSY_WAITING
            jobs = await self._taskq.leasing.take(wish, is_gone=request.is_disconnected)
        lent = b",".join(_encode_lent(job, lease_ms=wish.lease_ms) for job in jobs)
        return Answer(200, b'{"leases":[%b]}' % lent)

    async def heartbeat(self, request: Request) -> Answer:
        """`POST /leases/{lease}/heartbeat`: renew a lease, and say how far its attempt is."""
        lease, beat = _lease_of(request), await _read(request, Beat)
        renewed = await self._taskq.leasing.renew(
            lease,
            lease_ms=self._lease_ms(beat.lease),
            progress=beat.progress,
            text=clip(beat.note or "", MAX_NOTE_BYTES),
            checkpoint_json=_kept(beat.checkpoint, "checkpoint"),
        )
        return Answer(
            200, b'{"state":"%b","expires_at":%b}' % (renewed.state.encode(), encode_instant(renewed.expires_at_ms))
        )

    async def complete(self, request: Request) -> Answer:
        """`POST /leases/{lease}/complete`: the job is DONE."""
        lease, completion = _lease_of(request), await _read(request, Completion)
        return await self._settle(lease, Succeeded(_kept(completion.result, "result")))

    async def fail(self, request: Request) -> Answer:
        """`POST /leases/{lease}/fail`: the attempt failed; the job is retried, or DEAD."""
        lease, failure = _lease_of(request), await _read(request, Failure)
        may_retry = failure.retry is not False
        return await self._settle(lease, _failed(failure, may_retry=may_retry), may_retry=may_retry)

    async def snooze(self, request: Request) -> Answer:
        """`POST /leases/{lease}/snooze`: not now; neither a failure nor an attempt."""
        lease, snooze = _lease_of(request), await _read(request, Delay)
        if snooze.delay is None:
            raise InvalidRequestError("delay is required: the seconds until the job is due again", field="delay")
        return await self._settle(lease, Snoozed(round(snooze.delay * 1000)))

    async def release(self, request: Request) -> Answer:
        """`POST /leases/{lease}/release`: give the job back unharmed, or end one that is to be cancelled."""
        lease, _ = _lease_of(request), await _read(request, Nothing)
        return await self._settle(lease, Interrupted())

    async def _settle(self, lease: Lease, outcome: Outcome, *, may_retry: bool = True) -> Answer:
        status = await self._taskq.leasing.settle(lease, outcome, may_retry=may_retry)
        return Answer(200, b'{"status":"%b"}' % status.value.encode())

    def _wish(self, take: Take) -> Wish:
        return Wish(
            queues=tuple(dict.fromkeys(map(_checked_queue, take.queues or [DEFAULT_QUEUE]))),
            types=None if take.types is None else _checked_types(take.types),
            limit=take.max or 1,
            wait_s=take.wait or 0.0,
            lease_ms=self._lease_ms(take.lease),
            worker=_checked_worker(take.worker or "remote"),
        )

    def _lease_ms(self, lease_s: float | None) -> int:
        return self._taskq.leasing.lease_ms if lease_s is None else round(lease_s * 1000)


async def _read(request: Request, kind: type[M]) -> M:
    """Return the members of the body; one that is empty has none. Raises InvalidRequestError."""
    return decode_members(await read_body(request) or b"{}", kind)


def _lease_of(request: Request) -> Lease:
    match = _LEASE.fullmatch(request.path_params["lease"])
    if match is None:
        raise LeaseNotFoundError(request.path_params["lease"][:MAX_NOTE_BYTES])
    return Lease(JobId(int(match[1])), match[2])


def _encode_lent(job: Job, *, lease_ms: int) -> bytes:
    lease = held_lease(job)
    expires_at = encode_instant((job.started_at_ms or 0) + lease_ms)
    checkpoint = job.trail.checkpoint_json
    more = b"" if checkpoint is None else b',"checkpoint":%b' % checkpoint
    lent = (lease.job_id, lease.nonce.encode(), expires_at, more, encode_job(job))
    return b'{"lease":"%d-%b","expires_at":%b%b,"job":%b}' % lent


def _failed(failure: Failure, *, may_retry: bool) -> Failed:
    """Return the outcome as a handler's exception would be; retry policies are shown one of the same name."""
    error = one_line(failure.error or "").strip()
    if not error:
        raise InvalidRequestError("error is required, such as `TypeName: message`", field="error")
    traceback = clip_front(failure.traceback or "", MAX_TRACEBACK_BYTES)
    if may_retry and failure.delay is not None:
        return Failed(error, Retry(failure.delay, error), traceback)
    name, _, message = error.partition(": ")
    return Failed(error, RemoteError(name, message, traceback=traceback), traceback)


def _kept(value: Raw, field: str) -> bytes | None:
    """Return a value to be kept as JSON; None where there is none, or null."""
    kept = bytes(value)
    if kept in (b"", b"null"):
        return None
    if len(kept) > MAX_STATE_BYTES:
        raise InvalidRequestError(
            f"{field} has {len(kept)} bytes as JSON; at most {MAX_STATE_BYTES} are kept: store it elsewhere, and send "
            f"where it is",
            field=field,
        )
    try:
        check_payload(kept)
    except InvalidRequestError as error:
        raise InvalidRequestError(str(error).replace("payload", field, 1), field=field) from error
    return kept


def _checked_queue(name: str) -> str:
    try:
        return check_queue_name(name)
    except InvalidRequestError as error:
        raise InvalidRequestError(str(error), field="queues") from error


def _checked_types(types: Sequence[str]) -> frozenset[str]:
    for job_type in types:
        if JOB_TYPE.fullmatch(job_type) is None:
            raise InvalidRequestError(f"types: each must be {JOB_TYPE_RULE}", field="types")
    return frozenset(types)


def _checked_worker(name: str) -> str:
    if not name.isprintable():
        raise InvalidRequestError("worker must be 1 to 128 printable characters", field="worker")
    return name
