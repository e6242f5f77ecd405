"""The life of an app: opened and closed, its workers run, all of it stood in for in a test.

Held by `TaskQ`.
Invariant: whatever ends the body of an opened app, of its workers or of a test, what it opened is closed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

from gotaskq.assembly import Choices, Opened, create_queues, make_stepper, make_worker, open_parts
from gotaskq.backend import Backend, TellsOfCancels
from gotaskq.backends import is_local
from gotaskq.config import Settings
from gotaskq.engine.bus import EventBus
from gotaskq.engine.rates import FinishRates
from gotaskq.engine.registry import Registry
from gotaskq.engine.requests import JobType
from gotaskq.engine.resources import ResourceMaker, Resources
from gotaskq.engine.worker import Worker
from gotaskq.errors import GotaskqError, NotOpenError
from gotaskq.executors.process.executor import ProcessExecutor
from gotaskq.executors.thread import ThreadExecutor
from gotaskq.explaining import Surroundings
from gotaskq.job import Job, JobId, Status
from gotaskq.lifespan import Lifespans
from gotaskq.stand_in import Mode, StandIn, stand_in_choices
from gotaskq.sync_door import SyncDoor
from gotaskq.task import AnyTask
from gotaskq.telling import Telling

T = TypeVar("T")


class Life:
    """What of an app begins and ends."""

    def __init__(
        self,
        choices: Choices,
        *,
        settings: Settings,
        bus: EventBus,
        registry: Registry,
        tasks: Mapping[str, AnyTask],
        threads: ThreadExecutor,
        children: ProcessExecutor,
        rates: FinishRates,
    ) -> None:
        self.choices = choices
        self.settings = settings
        self.workers: list[Worker] = []  # those that run
        self.resources = Resources()
        self.lifespans = Lifespans()
        self.sync = SyncDoor(choices, bus, tasks=tasks, known_types=registry.types)
        self.before_open: list[Callable[[], None]] = []  # what else to find out or to refuse before that
        self.before_work: list[Callable[[], None]] = []  # what else workers need here
        self.more_types: dict[str, JobType] = {}  # what the door knows of types that are no tasks
        self.beside: list[Callable[[], AbstractAsyncContextManager[None]]] = []  # what else goes on while it is open
        self.before_end: list[Callable[[], Awaitable[None]]] = []  # what else to end, while the store is open still
        self.telling = Telling(bus, choices.clock)
        self._bus = bus
        self._registry = registry
        self.tasks = tasks
        self._threads = threads
        self._children = children
        self._rates = rates
        self._opened: Opened | None = None
        self._beside = AsyncExitStack()  # what goes on while it is open
        self._stand_in: StandIn | None = None

    @property
    def parts(self) -> Opened:
        """What exists while it is open; raises NotOpenError."""
        if self._opened is None:
            raise NotOpenError
        return self._opened

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._opened is not None

    @property
    def is_shared(self) -> bool:
        """Whether other processes can see the same jobs; they cannot look into this one's memory."""
        return not is_local(self.choices.backend_or(self.settings))

    @property
    def stand_in(self) -> StandIn:
        """What stands in for store, workers and time; raises GotaskqError where nothing does."""
        if self._stand_in is None:
            raise GotaskqError("this TaskQ is not overridden; use it inside `async with app.override():`")
        return self._stand_in

    def add_resource(self, maker: ResourceMaker) -> None:
        """Let workers open what this yields; raises RegistrationError."""
        self.resources.add(maker, in_payloads={name: task.parameter_types for name, task in self.tasks.items()})

    async def begin(self) -> None:
        """Open the store, enter the lifespans and get ready to run; in a test, it has been opened in another way."""
        if self._stand_in is not None:
            return
        if self._opened is not None:
            raise GotaskqError("this TaskQ is open already; one `async with app` at a time")
        await self._open()
        try:
            await self.lifespans.enter()
        except BaseException:
            await self._close()
            raise

    async def end(self) -> None:
        """Leave the lifespans, and close what was opened."""
        if self._stand_in is None:
            try:
                for end in self.before_end:
                    await end()
                await self.lifespans.leave()
            finally:
                await self._close()

    async def _open(self) -> None:
        for find_out in self.before_open:
            find_out()
        self._threads.max_threads = self.settings.effective_handler_threads
        self._children.max_children = self.settings.num_workers
        opened = await open_parts(
            self.choices,
            self.settings,
            bus=self._bus,
            registry=self._registry,
            tasks=self.tasks,
            rates=self._rates,
            more_types=self.more_types,
        )
        if isinstance(opened.backend, TellsOfCancels):
            opened.backend.hear_cancels(self.end_attempt)
        try:
            await self._beside.enter_async_context(self.telling.to(opened.log))
            if opened.sharing is not None:
                await self._beside.enter_async_context(opened.sharing.reading())
        except BaseException:
            await self._beside.aclose()
            await opened.backend.close()
            raise
        self._opened = opened
        self._registry.open_executors()
        self.sync.hand_over_to(self._opened)
        for begin in self.beside:
            await self._beside.enter_async_context(begin())

    async def _close(self) -> None:
        opened, self._opened = self.parts, None
        self.sync.hand_over_to(None)
        self._registry.close_executors()
        await self._beside.aclose()
        await opened.close()

    async def surroundings(self, job: Job, rates: FinishRates) -> Surroundings:
        """Return what is known around a job; raises BackendUnavailableError."""
        return Surroundings(
            workers=self.workers,
            serves_queue=self.settings.queues is None or job.queue in self.settings.queues,
            has_handler=self._registry.find(job.type) is not None,
            elsewhere=await self.parts.presence.elsewhere() if job.status is Status.PENDING else None,
            finished_per_s=rates.per_second(job.queue),
            now_ms=self.choices.clock.now_ms(),
        )

    def end_attempt(self, job_id: JobId) -> None:
        """Ask the attempt of a job to end, if it runs here."""
        for worker in self.workers:
            worker.cancel(job_id)

    @asynccontextmanager
    async def run_workers(self, concurrency: int | None, *, burst: bool, max_jobs: int | None) -> AsyncIterator[Worker]:
        """Run a worker during the body, and drain it at the end; in a test it runs nothing."""
        for find_out in self.before_work:
            find_out()
        await create_queues(self.parts.admission, self.settings.queues or ())
        worker = make_worker(
            self.choices,
            self.settings,
            backend=self.parts.backend,
            registry=self._registry,
            bus=self._bus,
            concurrency=concurrency,
            burst=burst,
            max_jobs=max_jobs,
        )
        if self._stand_in is not None:
            yield worker  # what runs, and when, is the test's to say
            return
        async with AsyncExitStack() as stack:
            variables = await stack.enter_async_context(self.resources.opened(self._registry.handlers))
            if self.parts.sharing is not None:
                await stack.enter_async_context(self.parts.sharing.saying())
            await stack.enter_async_context(self.parts.presence.of(worker))
            running = asyncio.create_task(worker.run(), name="gotaskq-worker", context=variables)
            self.workers.append(worker)
            try:
                yield worker
            finally:
                worker.stop()
                try:
                    await running
                finally:
                    self.workers.remove(worker)

    @asynccontextmanager
    async def override(
        self,
        app: T,
        backend: str | Backend | None,
        *,
        mode: Mode,
        raise_errors: bool,
        wrap: Callable[[Backend], Backend] | None,
        resources: Mapping[type, object] | None,
    ) -> AsyncIterator[T]:
        """Put a fresh store in the place of the app's own during the body, and let nothing run by itself."""
        own = (self.choices, self._opened, self._stand_in, self._beside)
        self.choices, self._opened, self._stand_in = stand_in_choices(own[0], self.settings, backend, wrap), None, None
        self._beside = AsyncExitStack()
        # What the lifespans set up is the process's: where the app is open already, it is there.
        begin, end = (self.begin, self.end) if own[1] is None else (self._open, self._close)
        try:
            await begin()
            try:
                stepper = make_stepper(own[0], self.settings, self.parts.backend, self._registry, self._bus)
                opened = partial(self.resources.opened, self._registry.handlers, resources)
                self._stand_in = StandIn(self.choices, self.parts, stepper, opened, mode=mode, raises=raise_errors)
                yield app
            finally:
                self._stand_in = None
                await end()
        finally:
            self.choices, self._opened, self._stand_in, self._beside = own
            if self._opened is not None:  # its executors and its way in were closed with the stand-in's
                self._registry.open_executors()
                self.sync.hand_over_to(self._opened)
