"""The stand-in: what an app under test has in the place of its store, its workers and its time.

Made by `TaskQ.override`, driven by `gotaskq.testing`.
Invariant: no job runs but by a step somebody asked for, and no time passes but by a tick.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context as Variables
from contextvars import ContextVar
from dataclasses import replace
from typing import Final, Literal, NamedTuple, TypeAlias

from gotaskq.assembly import Choices, Opened, make_backend
from gotaskq.backend import Backend, JobQuery
from gotaskq.clock import Clock
from gotaskq.config import Settings
from gotaskq.control import Control
from gotaskq.engine.requests import JobRequest
from gotaskq.engine.stepper import Stepped, Stepper
from gotaskq.engine.ways import Answers, Requests, Submits
from gotaskq.errors import EndlessJobsError, GotaskqError, RegistrationError
from gotaskq.job import FINAL, Job, JobId, Status
from gotaskq.outcome import Failed, Unhandled

Mode: TypeAlias = Literal["manual", "inline"]

MAX_ATTEMPTS: Final = 1_000  # more than any test means to run at once
MAX_NESTED: Final = 20  # jobs that enqueue jobs that enqueue jobs, all of them waiting for the innermost
PAGE: Final = 500


class StandingClock:
    """Shows the instant at which it was made until `tick`; who sleeps on it sleeps by the app's own clock.

    Nothing waits for its instants: a test ticks, and then drains.
    """

    def __init__(self, own: Clock) -> None:
        self._now_ms = own.now_ms()
        self._monotonic_s = own.monotonic_s()
        self._own = own

    def now_ms(self) -> int:
        """Return the instant, in milliseconds since 1970 (UTC)."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never steps back."""
        return self._monotonic_s

    def tick(self, *, seconds: float) -> None:
        """Let so much time pass; what has become due runs at the next drain. Raises ValueError."""
        if not seconds >= 0:
            raise ValueError(f"cannot tick by {seconds} s: time goes forward only")
        self._now_ms += round(seconds * 1000)
        self._monotonic_s += seconds

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds of the app's own clock."""
        await self._own.sleep(delay_s)

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """Return a timeout of the app's own clock."""
        return self._own.timeout(delay_s)


class StandIn:
    """An overridden app's store, time, and the one who runs its jobs."""

    def __init__(
        self,
        choices: Choices,
        opened: Opened,
        stepper: Stepper,
        resources: Callable[[], AbstractAsyncContextManager[Variables]],
        *,
        mode: Mode,
        raises: bool,
    ) -> None:
        if not isinstance(choices.clock, StandingClock):
            raise TypeError(f"the time of a stand-in must stand still, and {choices.clock!r} does not")
        self.clock = choices.clock
        self.stepper = stepper
        self.backend = opened.backend
        self._resources = resources
        if mode == "inline":
            opened.admission.surround(lambda way: _Inline(self, way, raises=raises))

    async def step(self) -> Stepped | None:
        """Run the next due job to the end of its attempt; None when none is due. Raises for one without a handler."""
        job = await self.stepper.take()
        if job is None:
            return None
        async with self._resources() as variables:
            stepped = await asyncio.create_task(self.stepper.run(job), context=variables)
        if isinstance(stepped.outcome, Unhandled):
            raise RegistrationError(
                f"job {stepped.job.id} has no handler for its type {stepped.job.type!r}; import the module that "
                f"defines it"
            )
        return stepped

    async def skip_to_next_due(self) -> bool:
        """Let time pass until the next waiting job of an open queue is due; say whether there was one to wait for."""
        now_ms = self.clock.now_ms()
        is_paused = {name: counts.is_paused for name, counts in (await self.backend.queues()).items()}
        waiting = await self.jobs(JobQuery(status=Status.PENDING))
        due_ms = min((job.run_after_ms for job in waiting if not is_paused[job.queue]), default=now_ms)
        self.clock.tick(seconds=max(due_ms - now_ms, 0) / 1000)
        return due_ms > now_ms

    async def jobs(self, query: JobQuery) -> list[Job]:
        """Return all of these jobs, in the order they came."""
        jobs: list[Job] = []
        after: str | None = None
        while True:
            page = await self.backend.list_jobs(query, after=after, limit=PAGE)
            jobs += page.jobs
            after = page.next_cursor
            if after is None:
                return sorted(jobs, key=lambda job: job.id)


def stand_in_choices(
    own: Choices, settings: Settings, backend: str | Backend | None, wrap: Callable[[Backend], Backend] | None
) -> Choices:
    """Return the choices of an app with another store, which lives by a clock that stands still."""
    choices = replace(own, backend=backend or "memory://", clock=StandingClock(own.clock))
    return choices if wrap is None else replace(choices, backend=wrap(make_backend(choices, settings)))


def error_of(stepped: Stepped) -> BaseException | None:
    """Return what the handler raised, unless that was its way to say what it wants."""
    outcome = stepped.outcome
    if not isinstance(outcome, Failed) or isinstance(outcome.exception, Control):
        return None
    job = stepped.job
    note = f"in attempt {job.attempt} of job {job.id}, type {job.type!r}"
    if note not in getattr(outcome.exception, "__notes__", ()):
        outcome.exception.add_note(note)
    return outcome.exception


class _Level(NamedTuple):
    """Where inline enqueues take turns: outside of any job, or inside of one attempt."""

    turn: asyncio.Lock
    depth: int


LEVEL: Final[ContextVar[_Level]] = ContextVar("gotaskq-inline-level")


class _Inline:
    """Runs each job to its end, through retries and delays, before its enqueue returns.

    Enqueues of one level wait for each other, so no job is looked at while it runs; those of a handler are a level of
    their own.
    """

    def __init__(self, stand_in: StandIn, way: Submits, *, raises: bool) -> None:
        self._stand_in = stand_in
        self._way = way
        self._raises = raises
        self._attempts_left = MAX_ATTEMPTS
        self._outermost = _Level(asyncio.Lock(), 0)
        self._errors: dict[JobId, BaseException] = {}  # by job, whoever's turn it was that ran it

    async def submit(self, request: JobRequest) -> Job:
        return await self._run(await self._way.submit(request))

    async def submit_many(self, requests: Requests, *, atomic: bool) -> Answers:
        answers = await self._way.submit_many(requests, atomic=atomic)
        return [answer if isinstance(answer, GotaskqError) else await self._run(answer) for answer in answers]

    async def _run(self, job: Job) -> Job:
        if job.was_there:  # and it may be the one that runs now, and enqueues itself
            return job
        level = LEVEL.get(self._outermost)
        async with level.turn:
            if not level.depth:
                self._attempts_left = MAX_ATTEMPTS
            inside = LEVEL.set(_Level(asyncio.Lock(), level.depth + 1))
            try:
                while (found := await self._look(job)).status not in FINAL and await self._go_on(level.depth):
                    pass
            finally:
                LEVEL.reset(inside)
        error = self._errors.get(job.id)
        if self._raises and error is not None and found.status is Status.DEAD:
            raise error
        return found

    async def _look(self, job: Job) -> Job:
        return await self._stand_in.backend.get(job.id) or job

    async def _go_on(self, depth: int) -> bool:
        """Run a job, or else let time pass; False when neither brings anything on, as where its queue is paused."""
        if not self._attempts_left or depth >= MAX_NESTED:
            raise EndlessJobsError(MAX_ATTEMPTS - self._attempts_left)
        stepped = await self._stand_in.step()
        if stepped is None:
            return await self._stand_in.skip_to_next_due()
        self._attempts_left -= 1
        error = error_of(stepped)
        if error is not None:
            self._errors[stepped.job.id] = error
        return True
