"""Waiting for a job and watching events over plain HTTP: `?wait=`, `Prefer: wait=`, and Server-Sent Events.

Invariant: a request that waits, or a stream, ends when its client has gone, when the service drains, or at its time; it
holds nothing but its place.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gotaskq.api.answers import JSON, Answer, refuse
from gotaskq.api.happenings import Filter, Happenings, Kept, Watcher
from gotaskq.api.long_requests import BUSY_WAITING, long_requests
from gotaskq.api.requests import job_id_of
from gotaskq.api.schemas import encode_job
from gotaskq.api.shared_happenings import SharedHappenings
from gotaskq.app import TaskQ
from gotaskq.clock import SystemClock
from gotaskq.errors import GotaskqError, InvalidRequestError, JobNotFoundError
from gotaskq.job import FINAL, Job, JobId, Status
from gotaskq.names import check_queue_name

MAX_WAIT_S: Final = 60.0
PING_EVERY_S: Final = 15.0  # proxies and clients take a silent connection for a dead one
LOOK_EVERY_S: Final = 2.0  # at a job that may run in another process, whose events are not heard here
RETRY: Final = b"retry: 2000\n\n"  # milliseconds after which a browser comes back
PING: Final = b": ping\n\n"
RESET: Final = b"event: reset\ndata: {}\n\n"
STREAM_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}

_WAIT = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?")
_PREFERRED = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,3})\"?\s*(?=$|[,;])", re.IGNORECASE)


Source: TypeAlias = Happenings | SharedHappenings


class Wish(msgspec.Struct, frozen=True):
    """How long a request wants to wait, and whether it said so by `Prefer`."""

    seconds: float = 0.0
    is_preference: bool = False

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the answer says of it."""
        return (("preference-applied", f"wait={self.seconds:g}"),) if self.is_preference else ()


def wish_of(request: Request) -> Wish:
    """Return how long a request wants to wait for its job; raises InvalidRequestError for a `wait` out of range."""
    asked = request.query_params.get("wait")
    if asked is not None:
        if not _WAIT.fullmatch(asked) or float(asked) > MAX_WAIT_S:
            raise InvalidRequestError(f"wait must be between 0 and {MAX_WAIT_S:g} seconds", field="wait")
        return Wish(float(asked))
    preferred = _PREFERRED.search(",".join(request.headers.getlist("prefer")))
    if preferred is None:  # a preference that nobody can read is none (RFC 7240)
        return Wish()
    return Wish(min(float(preferred[1]), MAX_WAIT_S), is_preference=True)


class Watching:
    """The endpoints that wait."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq
        self._happenings = Happenings(taskq, clock_s=time.monotonic)
        self._shared: SharedHappenings | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._draining = asyncio.Event()
        taskq.on_drain(self._end)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/events", self.events, methods=["GET"]),
            Route("/jobs/{id}/events", self.job_events, methods=["GET"]),
        ]

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def answer(self, request: Request, wish: Wish, job: Job, *, status: int, with_attempts: bool) -> Answer:
        """Return the job as it is once it has ended, the time is over, or nobody is there to hear of it."""
        if wish.seconds and job.status not in FINAL and not self._taskq.is_draining:
            with long_requests(request).waiting() as may_wait:
                if not may_wait:
                    return BUSY_WAITING
                job = await self._wait(request, job, wish.seconds)
        return Answer(status, encode_job(job, with_attempts=with_attempts), wish.headers)

    async def _wait(self, request: Request, job: Job, seconds: float) -> Job:
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._taskq.wait(job.id, timeout=seconds)),
            asyncio.ensure_future(_gone(request)),
            asyncio.ensure_future(self._draining.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        try:
            return await self._taskq.get(job.id)
        except JobNotFoundError:  # it ended and was forgotten meanwhile
            return job

    # -- streams -------------------------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """`GET /events`: what happens to jobs, as it happens; on a shared store, in all of its processes."""
        try:
            wanted = _filter_of(request)
        except GotaskqError as error:
            return _response(refuse(error))
        happenings = self._happenings_of_all()
        return self._stream(request, happenings, wanted, partial(self._tell_events, happenings))

    async def job_events(self, request: Request) -> Response:
        """`GET /jobs/{id}/events`: a job as it is, and each time it has changed, until it has ended."""
        job_id = job_id_of(request)
        try:
            if job_id is None:
                raise JobNotFoundError(request.path_params["id"])
            await self._taskq.get(job_id)
        except GotaskqError as error:
            return _response(refuse(error))
        return self._stream(request, self._happenings, Filter(job_id=job_id), self._tell_job)

    def _happenings_of_all(self) -> Source:
        log = self._taskq.happening_log
        if log is None:
            return self._happenings
        if self._shared is None or self._shared.log is not log:  # the app was opened anew
            self._shared = SharedHappenings(log, SystemClock(), hear=self._happenings.wake_of_job)
        return self._shared

    def _stream(
        self, request: Request, source: Source, wanted: Filter, tell: Callable[[Watcher, str], AsyncIterator[bytes]]
    ) -> Response:
        long = long_requests(request)
        if not long.has_room or self._taskq.is_draining:
            return _response(BUSY_WAITING)
        last_id = request.headers.get("last-event-id", "")

        async def body() -> AsyncIterator[bytes]:
            with long.waiting(), self._watching(source, wanted) as watcher:
                async for piece in tell(watcher, last_id):
                    yield piece

        return StreamingResponse(body(), media_type="text/event-stream", headers=STREAM_HEADERS)

    async def _tell_events(self, source: Source, watcher: Watcher, last_id: str) -> AsyncIterator[bytes]:
        missed = await source.join(watcher, last_id)
        yield RETRY
        pieces = [RESET] if missed is None else [_encode(kept) for kept in missed if _is_wanted(kept, watcher.wanted)]
        if pieces:
            yield b"".join(pieces)
        told_s = time.monotonic()
        while not self._taskq.is_draining and not watcher.is_behind:
            await watcher.wait()
            if watcher.unread:
                pieces = [_encode(watcher.unread.popleft()) for _ in range(len(watcher.unread))]
                yield b"".join(pieces)
                told_s = time.monotonic()
            elif time.monotonic() - told_s >= PING_EVERY_S:
                yield PING
                told_s = time.monotonic()

    async def _tell_job(self, watcher: Watcher, last_id: str) -> AsyncIterator[bytes]:
        job_id = watcher.wanted.job_id or JobId(0)
        shown, told_s = last_id, time.monotonic()
        yield RETRY
        while True:
            try:
                job = await self._taskq.get(job_id)
            except JobNotFoundError:
                yield b"event: job.gone\ndata: {}\n\n"
                return
            event_id = _id_of(job)
            if event_id != shown:
                yield _job_event(job, event_id)
                shown, told_s = event_id, time.monotonic()
            if job.status in FINAL or self._taskq.is_draining:
                return
            if time.monotonic() - told_s >= PING_EVERY_S:
                yield PING
                told_s = time.monotonic()
            await watcher.wait()
            watcher.unread.clear()

    @contextlib.contextmanager
    def _watching(self, source: Source, wanted: Filter) -> Iterator[Watcher]:
        watcher = source.watch(wanted)
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep())
        try:
            yield watcher
        finally:
            source.leave(watcher)

    async def _sweep(self) -> None:
        """Wake all who watch, now and then: one timer for all of them."""
        every_s = LOOK_EVERY_S if self._taskq.is_shared else PING_EVERY_S
        while any(source.watchers for source in self._sources()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._draining.wait()
            self._wake_all()
            if self._draining.is_set():
                return

    def _end(self) -> None:
        self._draining.set()
        self._wake_all()

    def _wake_all(self) -> None:
        for source in self._sources():
            source.wake_all()

    def _sources(self) -> list[Source]:
        return [self._happenings] if self._shared is None else [self._happenings, self._shared]


async def _gone(request: Request) -> None:
    receive: Callable[[], Awaitable[Any]] = request.receive
    while (await receive())["type"] != "http.disconnect":
        pass


def _filter_of(request: Request) -> Filter:
    queue, status = request.query_params.get("queue"), request.query_params.get("status")
    try:
        wanted = None if status is None else Status(status.upper())
    except ValueError:
        words = ", ".join(one.value for one in Status)
        raise InvalidRequestError(f"status must be one of {words}", field="status") from None
    return Filter(
        queue=None if queue is None else check_queue_name(queue), type=request.query_params.get("type"), status=wanted
    )


def _is_wanted(kept: Kept, wanted: Filter) -> bool:
    return kept.happening is None or wanted.admits(kept.happening)


def _encode(kept: Kept) -> bytes:
    happening = kept.happening
    if happening is None:
        return RESET
    data: dict[str, object] = {
        "id": str(happening.job_id),
        "type": happening.type,
        "queue": happening.queue,
        "status": happening.status.value,
        "attempt": happening.attempt,
    }
    if happening.error:
        data["error"] = happening.error
    return _event(happening.name, kept.id, msgspec.json.encode(data))


def _id_of(job: Job) -> str:
    return f"{job.updated_at_ms}-{job.attempt}-{job.status.value}"


def _job_event(job: Job, event_id: str) -> bytes:
    return _event(f"job.{job.status.value.lower()}", event_id, encode_job(job))


def _event(name: str, event_id: str, data: bytes) -> bytes:
    # JSON of ours may hold line breaks where a payload did; each line of data needs its name.
    lines = b"\n".join(b"data: " + line for line in data.replace(b"\r", b"\n").split(b"\n"))
    return b"id: %b\nevent: %b\n%b\n\n" % (event_id.encode(), name.encode(), lines)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers), media_type=JSON)
