"""Calling one handler as a worker would, without any store: its job, its Context, and what it said meanwhile."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, Final

import msgspec

from gotaskq.app import TaskQ
from gotaskq.context import RESOURCES, RUNNING_JOB, SEAT, Context
from gotaskq.engine.resources import injected
from gotaskq.executor import is_async, takes_context
from gotaskq.job import DEFAULT_QUEUE, Job, JobId, Lease, Status
from gotaskq.payload import decode_payload, encode_payload
from gotaskq.testing.clock import START_MS
from gotaskq.trail import Trail

JOB_ID: Final = JobId(1)


async def run_job(handler: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a handler once, as the first attempt of a job, and return what it returns; raises what it raises.

    For a function of `@app.handler`, the payload is the one argument, or the keywords; for a task, the arguments of
    its call. A `Trial` says more about the attempt.
    """
    return await Trial().run(handler, *args, **kwargs)


class Trial:
    """One attempt of a job that is in no store, and what its handler said: `progress` and `checkpoint`."""

    def __init__(
        self,
        *,
        app: TaskQ | None = None,
        attempt: int = 1,
        max_retries: int = 5,
        crashes: int = 0,
        checkpoint: object = None,
        is_cancelled: bool = False,
        resources: Mapping[type, object] | None = None,
    ) -> None:
        """Give the attempt its number, what earlier ones left, and by type what its handler wants to be given.

        `app` is where a job type is looked up.
        """
        self._app = app
        self._attempt = attempt
        self._max_retries = max_retries
        self._crashes = crashes
        self._is_cancelled = is_cancelled
        self._resources = resources or {}
        self._saved_json = None if checkpoint is None else encode_payload(checkpoint)
        self.progress: list[tuple[float, str]] = []  # the fraction and the note
        self.extended_s: list[float] = []

    @property
    def checkpoint(self) -> Any:
        """The state the next attempt would begin with."""
        return None if self._saved_json is None else decode_payload(self._saved_json)

    async def run(self, handler: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a handler, a task or (with `app`) what handles a job type, and return what it returns."""
        call, job_type, payload_json = self._read(handler, args, kwargs)
        job = self._job(job_type, payload_json)
        seat = _Seat(Context(job, self, is_cancelled=self._is_cancelled))
        argument = seat.attempt if takes_context(call) else job
        variables = copy_context()
        variables.run(RESOURCES.set, self._resources)
        return await asyncio.create_task(_call(seat, injected(call), argument), context=variables)

    def report_progress(self, job: Job, fraction: float, note: str) -> None:
        """Hear how far the handler is."""
        self.progress.append((fraction, note))

    def report_checkpoint(self, job: Job, state_json: bytes) -> None:
        """Take the state the handler leaves."""
        self._saved_json = state_json

    def extend(self, job: Job, timeout_s: float) -> None:
        """Hear for how long the handler wants to go on."""
        self.extended_s.append(timeout_s)

    def _read(
        self, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Callable[[Any], Any], str, bytes]:
        """Return what to call, the type and the payload of its job."""
        if hasattr(handler, "job") and hasattr(handler, "handler"):  # a task: its arguments make its payload
            request = handler.job(*args, **kwargs)
            return handler.handler, request.type, bytes(request.payload)
        job_type = "trial"
        if isinstance(handler, str):
            if self._app is None:
                raise TypeError(f"pass the function that handles {handler!r}, or Trial(app=app).run({handler!r}, …)")
            job_type, handler = handler, self._app.handler_of(handler)
        if not callable(handler):
            raise TypeError(f"{handler!r} cannot be called; pass a handler or a task")
        if len(args) > 1 or (args and kwargs):
            raise TypeError("a handler has one payload: pass it as the one argument, or its members as keywords")
        return handler, job_type, encode_payload(args[0] if args else kwargs or None)

    def _job(self, job_type: str, payload_json: bytes) -> Job:
        return Job(
            id=JOB_ID,
            type=job_type,
            queue=DEFAULT_QUEUE,
            payload_json=payload_json,
            status=Status.RUNNING,
            priority=0,
            delay_ms=0,
            max_retries=self._max_retries,
            attempt=self._attempt,
            retry_count=max(self._attempt - 1 - self._crashes, 0),
            crashes=self._crashes,
            rank=0,
            created_at_ms=START_MS,
            updated_at_ms=START_MS,
            run_after_ms=START_MS,
            started_at_ms=START_MS,
            enqueue_nonce="trial",
            lease=Lease(JOB_ID, "trial"),
            worker="trial",
            trail=msgspec.structs.replace(Trail(), checkpoint_json=self._saved_json),
        )


class _Seat:
    """The place where the one attempt runs."""

    def __init__(self, attempt: Context) -> None:
        self.attempt = attempt

    def context(self) -> Context:
        return self.attempt


async def _call(seat: _Seat, call: Callable[[Any], Any], argument: object) -> object:
    SEAT.set(seat)
    RUNNING_JOB.set(seat.attempt.job)
    returned: object = call(argument) if is_async(call) else await asyncio.to_thread(call, argument)
    return await returned if inspect.isawaitable(returned) else returned
