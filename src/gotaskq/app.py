"""TaskQ: what a program holds in its hand, and the composition root.

The only place that names concrete classes and puts them together. No state outside the object: two queues can live in
one process.
"""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, get_args

from msgspec import Raw

from gotaskq.assembly import Choices, submit_all
from gotaskq.backend import Backend, Finding
from gotaskq.bulk import Bulk
from gotaskq.callbacks import Callbacks
from gotaskq.clock import Clock, SystemClock
from gotaskq.config import Settings, load_settings
from gotaskq.dead_letters import DeadLetters
from gotaskq.engine.admission import Admission
from gotaskq.engine.bus import EventBus
from gotaskq.engine.endings import Endings
from gotaskq.engine.leasing import Leasing
from gotaskq.engine.middleware import Middleware
from gotaskq.engine.rates import FinishRates
from gotaskq.engine.registry import HandlerOptions, Registry
from gotaskq.engine.requests import JobRequest
from gotaskq.engine.resources import ResourceMaker
from gotaskq.engine.submission import EnqueueMiddleware
from gotaskq.engine.worker import Worker
from gotaskq.errors import GotaskqError, RegistrationError
from gotaskq.events import Event, Observer
from gotaskq.executor import Handler
from gotaskq.executors.asyncio_task import AsyncioExecutor
from gotaskq.executors.process.executor import ProcessExecutor
from gotaskq.executors.process.options import ProcessOptions
from gotaskq.executors.thread import ThreadExecutor
from gotaskq.happening_log import HappeningLog
from gotaskq.job import Job, JobId
from gotaskq.life import Life
from gotaskq.lifespan import Lifespan
from gotaskq.observation import Observation
from gotaskq.operations import Operations
from gotaskq.payload import encode_payload
from gotaskq.policies.ordering import Ordering
from gotaskq.policies.retry import RetryPolicy
from gotaskq.policies.scheduling import QueueSelector
from gotaskq.pushing import Pushing
from gotaskq.stand_in import Mode, StandIn
from gotaskq.steering import Steering
from gotaskq.task import AnyTask, SendOptions, TaskMaker, TaskOptions, checked

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from gotaskq.delivery.deliveries import Deliveries

H = TypeVar("H", bound=Handler)
M = TypeVar("M", bound=ResourceMaker)
L = TypeVar("L", bound=Lifespan)


class TaskQ(Steering):
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
        clock, rng = clock or SystemClock(), rng or Random()
        settings = settings or Settings()
        threads = ThreadExecutor(settings.effective_handler_threads)
        in_children = ProcessExecutor(children, clock=clock, rng=rng)
        self._bus = EventBus()
        self._endings = Endings(self._bus, clock)
        self.rates = FinishRates(self._bus, clock)
        self._tasks: dict[str, AnyTask] = {}
        self._registry = Registry(
            on_loop=AsyncioExecutor(), in_thread=threads, in_child=in_children, middleware=middleware
        )
        self._life = Life(
            Choices(backend, retry, ordering, selector, clock, rng, (*enqueue_middleware,)),
            settings=settings,
            bus=self._bus,
            registry=self._registry,
            tasks=self._tasks,
            threads=threads,
            children=in_children,
            rates=self.rates,
        )
        self._is_draining = False
        self._on_drain: list[Callable[[], None]] = []
        self.bulk = Bulk(self, self._life, rng=rng)
        self.dead_letters = DeadLetters(self, self.bulk, self._life)
        self.operations = Operations(self.bulk, self._life)
        self._life.before_end += [self.bulk.close, self.operations.close]
        self.push = Pushing(self, self._registry, self._tasks, self._life, clock=clock, rng=rng)
        self.observation = Observation(
            self._bus, self._life.workers, self._registry, deliveries=lambda: self.push.counts
        )
        self.callbacks = Callbacks(self, self._life, self.push, registry=self._registry, bus=self._bus)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Make a TaskQ with the settings of the environment; raises ConfigError for one that cannot be used."""
        return cls(settings=load_settings(os.environ if environ is None else environ).settings)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._life.settings

    def configure(self, settings: Settings) -> None:
        """Take other settings before it is opened, as `gotaskq run` does; what the constructor named stays."""
        if self.is_open:
            raise GotaskqError("this TaskQ is open; configure it before `async with app`")
        self._life.settings = settings

    # -- definition ----------------------------------------------------------------------------------------------------

    def task(self, job_type: str | None = None, **options: Unpack[TaskOptions]) -> TaskMaker:
        """Make a function a task: its calls can be enqueued, and its signature says what their payloads are.

        The job type is the function's name unless it is given; the options are those of TaskOptions. Raises
        RegistrationError.
        """
        if self.is_open:
            raise RegistrationError("this TaskQ is open; define its tasks before `async with app`")
        kinds = self._life.resources.kinds
        return TaskMaker(self, self._registry, self._tasks, job_type, options, injectable=kinds)

    @property
    def tasks(self) -> Mapping[str, AnyTask]:
        """The tasks by job type."""
        return self._tasks

    def handler(self, job_type: str, **options: Unpack[HandlerOptions]) -> Callable[[H], H]:
        """Register a function of the whole Job, or of its Context, as the handler of a job type.

        An `async def` runs on the event loop, a `def` in a thread, in a child process with `executor="process"`, or in
        an Executor of your own. Parameters behind the first are resources. The options are those of HandlerOptions.
        Raises RegistrationError.
        """

        def register(handler: H) -> H:
            self._registry.register(job_type, handler, **options)
            return handler

        return register

    def resource(self, maker: M) -> M:
        """Let each worker open what this `async def` yields at its start, and close it after its drain.

        Handlers, and tasks and resources below it, get it by a parameter annotated with its type. Raises
        RegistrationError.
        """
        self._life.add_resource(maker)
        return maker

    def lifespan(self, lifespan: L) -> L:
        """Run this `async def` up to its `yield` when the app is opened, and on from there when it is closed.

        Once a process, whether it runs jobs or not; the store is open on both sides. Raises RegistrationError.
        """
        self._life.lifespans.add(lifespan)
        return lifespan

    def observe(self, observer: Observer, events: Iterable[type[Event]] = get_args(Event)) -> None:
        """Call `observer` for each event of these types (default: all); it must not block, errors are only logged."""
        for event_type in events:
            self._bus.subscribe(event_type, observer)

    def observe_batches(self, event_type: type[Any], observer: Callable[[Sequence[Any]], None]) -> None:
        """Call `observer` with the events of this type that happened at once; cheaper than one by one."""
        self._bus.subscribe_to_batches(event_type, observer)

    @property
    def types_elsewhere(self) -> list[Mapping[str, Any]]:
        """What workers of other programs on the same store say of the types nobody has here, as `GET /types` shows it.

        Read when the app is opened, and every few seconds from then on.
        """
        return self._parts.elsewhere.shown() if self.is_open else []

    @property
    def job_types(self) -> list[str]:
        """The job types that have a handler here, sorted."""
        return self._registry.types()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._life.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._life.end()

    def workers(
        self, concurrency: int | None = None, *, burst: bool = False, max_jobs: int | None = None
    ) -> AbstractAsyncContextManager[Worker]:
        """Run jobs in this process while the body runs, at most `concurrency` at once; drain at its end.

        The worker ends sooner, and sets its `ended`, after `max_jobs` jobs, or in a burst once none is left to run.
        """
        return self._life.run_workers(concurrency, burst=burst, max_jobs=max_jobs)

    def override(
        self,
        backend: str | Backend | None = None,
        *,
        mode: Mode = "manual",
        raise_errors: bool = True,
        wrap: Callable[[Backend], Backend] | None = None,
        resources: Mapping[type, object] | None = None,
    ) -> AbstractAsyncContextManager[Self]:
        """Put a fresh store in the place of the app's own during the body, and let nothing run by itself; for tests.

        In `manual` mode jobs wait until `gotaskq.testing.drain` runs them; in `inline` mode each enqueue runs its job
        to the end, and with `raise_errors` raises what made it die. `wrap` may put something before the store, and
        `resources` by type take the place of the app's own.
        """
        return self._life.override(self, backend, mode=mode, raise_errors=raise_errors, wrap=wrap, resources=resources)

    @property
    def stand_in(self) -> StandIn:
        """What stands in for store and workers during `override`; raises GotaskqError outside of it."""
        return self._life.stand_in

    # -- jobs ----------------------------------------------------------------------------------------------------------

    async def enqueue(self, job_type: str, payload: object = None, **options: Unpack[SendOptions]) -> Job:
        """Store a job and return it; what the options leave out is as the type's task says, else as by default.

        Raises InvalidRequestError, QueueNotFoundError, QueueFullError, ShuttingDownError or BackendUnavailableError.
        """
        return await self._parts.admission.submit(self.job(job_type, payload, **options))

    def enqueue_sync(self, job_type: str, payload: object = None, **options: Unpack[SendOptions]) -> Job:
        """Do what `enqueue` does, for code that cannot await; from any thread, open or not, in forked processes too.

        Raises ConfigError where the jobs are in the memory of a TaskQ that is not open in this process.
        """
        return self.submit_sync(self.job(job_type, payload, **options))

    def get_sync(self, job_id: int) -> Job:
        """Do what `get` does, for code that cannot await; raises as `get`, and ConfigError as `enqueue_sync`."""
        return self._life.sync.get(JobId(job_id), self.settings)

    @staticmethod
    def job(job_type: str, payload: object = None, **options: Unpack[SendOptions]) -> JobRequest:
        """Return a job's request, for `enqueue_many`; raises InvalidRequestError for a payload JSON cannot hold."""
        return JobRequest(job_type, Raw(encode_payload(payload)), **checked(options))

    async def enqueue_many(self, requests: Sequence[JobRequest]) -> list[Job]:
        """Store all of the jobs or none, in one call to the store; raises what the first refused one is refused for."""
        return await submit_all(self._parts.admission, requests)

    def submit(self, request: JobRequest) -> Awaitable[Job]:
        """Store the job a request asks for; raises as `enqueue`."""
        return self._parts.admission.submit(request)

    def submit_sync(self, request: JobRequest) -> Job:
        """Do what `submit` does, for code that cannot await; raises as `enqueue_sync`."""
        return self._life.sync.submit(request, self.settings)

    @property
    def deliveries(self) -> "Deliveries":
        """What sends signed POSTs, to the destinations that may be delivered to."""
        return self.push.deliveries

    @property
    def door(self) -> Admission:
        """The one door through which jobs come in, for those who pass it often."""
        return self._parts.admission

    @property
    def leasing(self) -> Leasing:
        """The way out, for workers in other programs that lease jobs over HTTP."""
        return self._parts.leasing

    def create_queue_sync(self, name: str) -> str:
        """Do what `create_queue` does, for code that cannot await; raises as it, and ConfigError as `enqueue_sync`."""
        return self._life.sync.create_queue(name, self.settings)

    # -- surfaces ------------------------------------------------------------------------------------------------------

    async def metrics_page(self) -> bytes:
        """Return the metrics in Prometheus' text format; while the store is away, without the figures of queues."""
        return await self.observation.page(self.queue_stats)

    @property
    def busy(self) -> int:
        """How many slots run an attempt now."""
        return sum(worker.busy for worker in self._life.workers)

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
        return self._life.is_open

    @property
    def is_accepting(self) -> bool:
        """Whether this process takes new jobs: open, and not draining."""
        return self.is_open and not self._parts.admission.is_closed

    @property
    def is_shared(self) -> bool:
        """Whether other processes can see the same jobs; they cannot look into this one's memory."""
        return self._life.is_shared

    @property
    def backend_name(self) -> str:
        """Where the jobs live, for people: a URL without its password, or the class of a backend that was given."""
        return self._life.choices.backend_name(self.settings)

    @property
    def is_reachable(self) -> bool:
        """Whether the store answered when it was last asked; a store that is always there counts as one that did."""
        return self._parts.is_reachable

    @property
    def happening_log(self) -> HappeningLog | None:
        """The log of what happens in all processes of a shared store; None where each tells of its own."""
        return self._life.telling.log

    async def check_store(self) -> list[Finding]:
        """Return what is wrong with the store's version and settings; raises BackendUnavailableError."""
        return await self._parts.check()

    @property
    def is_draining(self) -> bool:
        """Whether whoever serves this app is about to end; set by them, for `/readyz` and for requests that wait."""
        return self._is_draining

    @is_draining.setter
    def is_draining(self, is_so: bool) -> None:
        self._is_draining = is_so
        for hear in self._on_drain if is_so else ():
            hear()

    def on_drain(self, hear: Callable[[], None]) -> None:
        """Call `hear` once this app is draining."""
        self._on_drain.append(hear)

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
