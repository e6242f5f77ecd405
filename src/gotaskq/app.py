"""TaskQ: what a program holds in its hand, and the composition root.

The only place that names concrete classes and puts them together. No state outside the object: two queues can live in
one process.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Self, TypeVar, get_args

from msgspec import Raw

from gotaskq.assembly import Choices, Opened, count_events, make_admission, make_backend, make_stepper, make_worker
from gotaskq.backend import (
    Backend,
    ChecksItself,
    Finding,
    JobQuery,
    Page,
    QueueCounts,
    ReportsHealth,
    TellsOfCancels,
)
from gotaskq.backends import is_local
from gotaskq.clock import Clock, SystemClock
from gotaskq.config import Settings, load_settings, mask_url
from gotaskq.engine.admission import Admission, JobRequest
from gotaskq.engine.bus import EventBus
from gotaskq.engine.middleware import Middleware
from gotaskq.engine.registry import Registry
from gotaskq.engine.resources import ResourceMaker, Resources
from gotaskq.engine.submission import EnqueueMiddleware
from gotaskq.engine.worker import Worker
from gotaskq.errors import (
    BackendUnavailableError,
    DeadJobNotFoundError,
    GotaskqError,
    JobNotFoundError,
    NotOpenError,
    QueueExistsError,
    RegistrationError,
    WithheldError,
)
from gotaskq.events import Event, JobCancelled, JobReplayed, Observer
from gotaskq.executor import Executor, ExecutorName, Handler
from gotaskq.executors.asyncio_task import AsyncioExecutor
from gotaskq.executors.process.executor import ProcessExecutor
from gotaskq.executors.process.options import ProcessOptions
from gotaskq.executors.thread import ThreadExecutor
from gotaskq.job import DEFAULT_QUEUE, Job, JobId, Status
from gotaskq.metrics import Counted, Metrics
from gotaskq.names import check_queue_name
from gotaskq.payload import encode_payload
from gotaskq.policies.ordering import Ordering
from gotaskq.policies.retry import RetryPolicy
from gotaskq.policies.scheduling import QueueSelector
from gotaskq.stand_in import Mode, StandIn, stand_in_choices

if TYPE_CHECKING:
    from starlette.applications import Starlette

H = TypeVar("H", bound=Handler)
M = TypeVar("M", bound=ResourceMaker)


class TaskQ:
    """A job queue: define handlers on it, enqueue jobs, run workers, serve HTTP.

    `backend` is a URL (`memory://`) or a Backend of your own. Use it inside `async with`:

        app = TaskQ()

        @app.handler("email")
        async def send(job: Job) -> None: ...

        async with app, app.workers(concurrency=10):
            await app.enqueue("email", {"to": "a@b.c"})
    """

    def __init__(
        self,
        backend: str | Backend | None = None,
        *,
        settings: Settings | None = None,
        retry: RetryPolicy | None = None,
        ordering: Ordering | None = None,
        selector: Callable[[], QueueSelector] | None = None,
        middleware: Sequence[Middleware] = (),
        enqueue_middleware: Sequence[EnqueueMiddleware] = (),
        children: ProcessOptions | None = None,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or Random()
        self._choices = Choices(backend, retry, ordering, selector, self._clock, self._rng, (*enqueue_middleware,))
        self._bus = EventBus()
        self._threads = ThreadExecutor(self._settings.effective_handler_threads)
        self._children = ProcessExecutor(children, clock=self._clock, rng=self._rng)
        self._registry = Registry(
            on_loop=AsyncioExecutor(), in_thread=self._threads, in_child=self._children, middleware=middleware
        )
        self._metrics = Metrics(has_handler=self.has_handler)
        count_events(self._metrics, self._bus)
        self._gather: Callable[[], Awaitable[Counted]] = self.counted
        self.is_draining = False  # set by whoever serves this app, for /readyz
        self._resources = Resources()
        self._opened: Opened | None = None
        self._stand_in: StandIn | None = None
        self._workers: list[Worker] = []

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Make a TaskQ with the settings of the environment; raises ConfigError for one that cannot be used."""
        return cls(settings=load_settings(os.environ if environ is None else environ).settings)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    def configure(self, settings: Settings) -> None:
        """Take other settings before it is opened, as `gotaskq run` does; what the constructor named stays."""
        if self._opened is not None:
            raise GotaskqError("this TaskQ is open; configure it before `async with app`")
        self._settings = settings

    # -- definition ----------------------------------------------------------------------------------------------------

    def handler(
        self,
        job_type: str,
        *,
        retry: RetryPolicy | None = None,
        executor: ExecutorName | Executor | None = None,
        timeout: float | None = None,
        isolate_after_crash: bool = False,
    ) -> Callable[[H], H]:
        """Register a function of the whole Job, or of its Context, as the handler of a job type.

        An `async def` runs on the event loop, a `def` in a thread, or in a child process with `executor="process"`; or
        an Executor of your own runs it. Parameters behind the first are resources.
        `timeout` is in seconds, for one attempt; a job whose worker was lost runs in a child of its own from then on
        with `isolate_after_crash`. Raises RegistrationError.
        """

        def register(handler: H) -> H:
            self._registry.register(
                job_type,
                handler,
                retry=retry,
                executor=executor,
                timeout_s=timeout,
                isolate_after_crash=isolate_after_crash,
            )
            return handler

        return register

    def resource(self, maker: M) -> M:
        """Let each worker open what this `async def` yields at its start, and close it after its drain.

        Handlers and later resources get it by a parameter annotated with its type. Raises RegistrationError.
        """
        self._resources.add(maker)
        return maker

    def observe(self, observer: Observer, events: Iterable[type[Event]] = get_args(Event)) -> None:
        """Call `observer` for each event of these types (default: all); it must not block, errors are only logged."""
        for event_type in events:
            self._bus.subscribe(event_type, observer)

    @property
    def job_types(self) -> list[str]:
        """The job types that have a handler here, sorted."""
        return self._registry.types()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._stand_in is not None:
            return self  # a test has opened it in its own way
        if self._opened is not None:
            raise GotaskqError("this TaskQ is open already; one `async with app` at a time")
        self._threads.max_threads = self._settings.effective_handler_threads
        self._children.max_children = self._settings.num_workers
        backend = make_backend(self._choices, self._settings)
        await backend.open()
        if isinstance(backend, TellsOfCancels):
            backend.hear_cancels(self._end_attempt)
        self._registry.open_executors()
        admission = make_admission(self._choices, self._settings, backend=backend, bus=self._bus)
        self._opened = Opened(backend, admission)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._stand_in is not None:
            return
        opened, self._opened = self._parts, None
        self._registry.close_executors()
        await opened.backend.close()

    @contextlib.asynccontextmanager
    async def workers(
        self, concurrency: int | None = None, *, burst: bool = False, max_jobs: int | None = None
    ) -> AsyncIterator[Worker]:
        """Run jobs in this process while the body runs, at most `concurrency` at once; drain at its end.

        The worker ends sooner, and sets its `ended`, after `max_jobs` jobs, or in a burst once none is left to run.
        """
        for queue in self._settings.queues or ():
            with contextlib.suppress(QueueExistsError):  # whoever serves a queue may be its first owner
                await self._parts.admission.create_queue(queue)
        worker = make_worker(
            self._choices,
            self._settings,
            backend=self._parts.backend,
            registry=self._registry,
            bus=self._bus,
            concurrency=concurrency,
            burst=burst,
            max_jobs=max_jobs,
        )
        if self._stand_in is not None:
            yield worker  # it runs nothing: what runs, and when, is the test's to say
            return
        async with self._resources.opened(self._registry.handlers) as variables:
            running = asyncio.create_task(worker.run(), name="gotaskq-worker", context=variables)
            self._workers.append(worker)
            try:
                yield worker
            finally:
                worker.stop()
                try:
                    await running
                finally:
                    self._workers.remove(worker)

    @contextlib.asynccontextmanager
    async def override(
        self,
        backend: str | Backend | None = None,
        *,
        mode: Mode = "manual",
        raise_errors: bool = True,
        wrap: Callable[[Backend], Backend] | None = None,
        resources: Mapping[type, object] | None = None,
    ) -> AsyncIterator[Self]:
        """Put a fresh store in the place of the app's own during the body, and let nothing run by itself; for tests.

        In `manual` mode jobs wait until `gotaskq.testing.drain` runs them; in `inline` mode each enqueue runs its job
        to the end, and with `raise_errors` raises what made it die. `wrap` may put something before the store, and
        `resources` by type take the place of the app's own.
        """
        own = (self._choices, self._opened, self._stand_in)
        self._choices, self._opened, self._stand_in = (
            stand_in_choices(own[0], self._settings, backend, wrap),
            None,
            None,
        )
        try:
            async with self:
                stepper = make_stepper(own[0], self._settings, self._parts.backend, self._registry, self._bus)
                opened = partial(self._resources.opened, self._registry.handlers, resources)
                self._stand_in = StandIn(self._choices, self._parts, stepper, opened, mode=mode, raises=raise_errors)
                try:
                    yield self
                finally:
                    self._stand_in = None
        finally:
            self._choices, self._opened, self._stand_in = own
            if self._opened is not None:
                self._registry.open_executors()  # closed with the stand-in, but they are the open app's, too

    @property
    def stand_in(self) -> StandIn:
        """What stands in for store and workers during `override`; raises GotaskqError outside of it."""
        if self._stand_in is None:
            raise GotaskqError("this TaskQ is not overridden; use it inside `async with app.override():`")
        return self._stand_in

    # -- jobs ----------------------------------------------------------------------------------------------------------

    async def enqueue(
        self,
        job_type: str,
        payload: object = None,
        *,
        queue: str = "default",
        priority: int = 0,
        delay: float = 0,
        max_retries: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - of the job, not of this call
        schedule_timeout: float | None = None,
    ) -> Job:
        """Store a job and return it; `delay` is seconds until it may run, `priority` 0 to 10 (10 goes first).

        `timeout` is how many seconds an attempt may take, `schedule_timeout` how long the job may wait once it is due.
        Raises InvalidRequestError, QueueNotFoundError, QueueFullError, ShuttingDownError or BackendUnavailableError.
        """
        request = self.job(
            job_type,
            payload,
            queue=queue,
            priority=priority,
            delay=delay,
            max_retries=max_retries,
            timeout=timeout,
            schedule_timeout=schedule_timeout,
        )
        return await self._parts.admission.submit(request)

    @staticmethod
    def job(
        job_type: str,
        payload: object = None,
        *,
        queue: str = "default",
        priority: int = 0,
        delay: float = 0,
        max_retries: int | None = None,
        timeout: float | None = None,
        schedule_timeout: float | None = None,
    ) -> JobRequest:
        """Return a job's request, for `enqueue_many`; raises InvalidRequestError for a payload JSON cannot hold."""
        named = queue if queue == DEFAULT_QUEUE else check_queue_name(queue)
        payload_json = Raw(encode_payload(payload))
        return JobRequest(job_type, payload_json, priority, delay, max_retries, named, timeout, schedule_timeout)

    async def enqueue_many(self, requests: Sequence[JobRequest]) -> list[Job]:
        """Store all of the jobs or none, in one call to the store; raises what the first refused one is refused for."""
        answers = await self._parts.admission.submit_many(requests, atomic=True)
        jobs = [answer for answer in answers if isinstance(answer, Job)]
        if len(jobs) < len(answers):
            errors = [answer for answer in answers if isinstance(answer, GotaskqError)]
            raise min(errors, key=lambda error: isinstance(error, WithheldError))
        return jobs

    def submit(self, request: JobRequest) -> Awaitable[Job]:
        """Store the job a request asks for; raises as `enqueue`."""
        return self._parts.admission.submit(request)

    @property
    def door(self) -> Admission:
        """The one door through which jobs come in, for those who pass it often."""
        return self._parts.admission

    async def get(self, job_id: int) -> Job:
        """Return a job; raises JobNotFoundError."""
        job = await self._parts.backend.get(JobId(job_id))
        if job is None:
            raise JobNotFoundError(job_id)
        return job

    async def list_jobs(
        self,
        *,
        status: Status | None = None,
        queue: str | None = None,
        job_type: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """List jobs, newest first, from behind a page's `next_cursor`; raises InvalidRequestError for a bad cursor."""
        query = JobQuery(status=status, queue=queue, type=job_type)
        return await self._parts.backend.list_jobs(query, after=cursor, limit=limit)

    async def cancel(self, job_id: int) -> Job:
        """Cancel a waiting job, ask a running one to end, leave an ended one as it is; raises JobNotFoundError."""
        job = await self._parts.backend.cancel(JobId(job_id))
        if job is None:
            raise JobNotFoundError(job_id)
        if job.is_cancel_requested and job.status is Status.RUNNING:
            self._end_attempt(job.id)
        elif job.status is Status.CANCELLED:
            self._bus.publish(JobCancelled(job))
        return job

    def _end_attempt(self, job_id: JobId) -> None:
        for worker in self._workers:
            worker.cancel(job_id)

    async def replay(self, job_id: int) -> Job:
        """Run a dead job again, on its own queue with a fresh count; raises DeadJobNotFoundError."""
        replayed = await self._parts.backend.replay([JobId(job_id)])
        if not replayed:
            raise DeadJobNotFoundError(job_id)
        self._bus.publish(JobReplayed(replayed[0]))
        return replayed[0]

    async def delete(self, job_id: int) -> Job:
        """Forget a job: one that waits is cancelled first, one that runs is asked to end and stays until it has.

        Return the job as it was last; raises JobNotFoundError.
        """
        job = await self.cancel(job_id)
        if job.status is not Status.RUNNING:
            await self._parts.backend.delete([job.id])
        return job

    async def delete_dead(self, job_id: int) -> None:
        """Delete a dead job; raises DeadJobNotFoundError."""
        if not await self._parts.backend.delete([JobId(job_id)], status=Status.DEAD):
            raise DeadJobNotFoundError(job_id)

    # -- queues --------------------------------------------------------------------------------------------------------

    async def create_queue(self, name: str) -> str:
        """Register a queue and return its (lower-cased) name; raises InvalidRequestError or QueueExistsError."""
        return await self._parts.admission.create_queue(name)

    async def queues(self) -> Mapping[str, QueueCounts]:
        """Return every queue with its counts, sorted by name."""
        return await self._parts.backend.queues()

    async def pause(self, queue: str) -> None:
        """Stop giving out the queue's jobs; raises QueueNotFoundError."""
        await self._parts.backend.set_paused(queue, paused=True)

    async def resume(self, queue: str) -> None:
        """Give out the queue's jobs again; raises QueueNotFoundError."""
        await self._parts.backend.set_paused(queue, paused=False)

    # -- surfaces ------------------------------------------------------------------------------------------------------

    async def metrics_page(self) -> bytes:
        """Return the metrics in Prometheus' text format; while the store is away, without the depths of queues."""
        from gotaskq.prometheus import render

        try:
            queues = await self.queues()
        except BackendUnavailableError:  # the counters are wanted most when something is wrong
            queues = {}
        return render(await self._gather(), depths=self._metrics.depths(queues))

    async def counted(self) -> Counted:
        """Return what this process has counted, as it is now."""
        return self._metrics.counted(active_workers=self.busy)

    def gather_with(self, gather: Callable[[], Awaitable[Counted]]) -> None:
        """Let `gather` say what the metrics page counts; for a process that is one of several."""
        self._gather = gather

    @property
    def busy(self) -> int:
        """How many slots run an attempt now."""
        return sum(worker.busy for worker in self._workers)

    def has_handler(self, job_type: str) -> bool:
        """Whether a job of this type can run here."""
        return self._registry.find(job_type) is not None

    def handler_of(self, job_type: str) -> Handler:
        """Return the function that handles jobs of this type; raises RegistrationError for a type without one."""
        registration = self._registry.find(job_type)
        if registration is None:
            known = ", ".join(self.job_types) or "none"
            raise RegistrationError(f"no handler for job type {job_type!r}; registered here: {known}")
        return registration.handler

    @property
    def is_open(self) -> bool:
        """Whether we are inside `async with app`."""
        return self._opened is not None

    @property
    def is_accepting(self) -> bool:
        """Whether this process takes new jobs: open, and not draining."""
        return self._opened is not None and not self._opened.admission.is_closed

    @property
    def is_shared(self) -> bool:
        """Whether other processes can see the same jobs; they cannot look into this one's memory."""
        return not is_local(self._choices.backend_or(self._settings))

    @property
    def backend_name(self) -> str:
        """Where the jobs live, for people: a URL without its password, or the class of a backend that was given."""
        backend = self._choices.backend_or(self._settings)
        return mask_url(backend) if isinstance(backend, str) else type(backend).__name__

    @property
    def is_reachable(self) -> bool:
        """Whether the store answered when it was last asked; a store that is always there counts as one that did."""
        backend = self._parts.backend
        return not isinstance(backend, ReportsHealth) or backend.is_reachable

    async def check_store(self) -> list[Finding]:
        """Return what is wrong with the store's version and settings, as far as it can tell.

        Raises BackendUnavailableError. A store that has nothing to set up has no findings.
        """
        backend = self._parts.backend
        return await backend.check() if isinstance(backend, ChecksItself) else []

    def stop_accepting(self) -> None:
        """Refuse new jobs from now on with ShuttingDownError; those that are stored go on."""
        self._parts.admission.is_closed = True

    def asgi(self) -> "Starlette":
        """Return the HTTP API as an ASGI application, to serve or to mount."""
        from gotaskq.api.asgi import create_app

        return create_app(self)

    def run(self) -> None:
        """Serve HTTP and run workers in this process until SIGTERM or SIGINT, then drain."""
        from gotaskq.api.server import serve

        serve(self)

    @property
    def _parts(self) -> Opened:
        if self._opened is None:
            raise NotOpenError
        return self._opened
