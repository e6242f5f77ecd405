"""The door for code that cannot await: `enqueue_sync` and its kin, from any thread and in any forked process.

Where the app is open in this process, its loop does the work. Elsewhere a store of one's own is spoken to, by the same
admission: its coroutines are run to their end at once, since nothing they wait for ever waits.
Invariant: no process and no thread draws ids with the nonce of another, so no two jobs can be taken for one.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import wait as wait_in_thread
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from gotaskq.assembly import Choices, Opened, make_admission, types_of
from gotaskq.backend import Backend, Enqueued, EnqueueReply
from gotaskq.backends import SCHEMES, is_local
from gotaskq.config import Settings
from gotaskq.engine.admission import Admission
from gotaskq.engine.bus import EventBus
from gotaskq.engine.endings import look_until_ended
from gotaskq.engine.requests import JobRequest
from gotaskq.errors import BackendUnavailableError, ConfigError, GotaskqError, JobNotFoundError, NotOpenError, Quota
from gotaskq.events import Event, JobCancelled, JobEnqueued, QueueCreated
from gotaskq.job import Job, JobId, Status
from gotaskq.kinds import mask_url
from gotaskq.queue_rules import QueueRules
from gotaskq.store_limits import StoreLayout, StoreLimits
from gotaskq.task import AnyTask

if TYPE_CHECKING:
    from gotaskq.backends.redis.sync import SyncRedis

T = TypeVar("T")

LOOP_ANSWERS_WITHIN_S: Final = 10.0  # far longer than the store is tried; a loop that is blocked must not block us


class SyncDoor:
    """One app's door for code that cannot await."""

    def __init__(
        self,
        choices: Choices,
        bus: EventBus,
        *,
        tasks: Mapping[str, AnyTask],
        known_types: Callable[[], Iterable[str]],
    ) -> None:
        self._choices = choices
        self._bus = bus
        self._tasks = tasks
        self._known_types = known_types
        self._opened: _OpenHere | None = None
        self._own: _OwnEntrance | None = None

    def hand_over_to(self, opened: Opened | None) -> None:
        """Let the running loop, where the app was opened just now, do the work; None when it closes."""
        self._opened = None if opened is None else _OpenHere(opened, asyncio.get_running_loop(), os.getpid())

    def submit(self, request: JobRequest, settings: Settings) -> Job:
        """Store the job a request asks for; raises as `enqueue`, and ConfigError where that is not possible."""
        if (here := self._open_here) is not None:
            return here.wait_for(here.opened.admission.submit(request))
        return _finish(self._entrance(settings).admission.submit(request))

    def get(self, job_id: JobId, settings: Settings) -> Job:
        """Return a job; raises JobNotFoundError, and ConfigError where that is not possible."""
        if (here := self._open_here) is not None:
            job = here.wait_for(here.opened.backend.get(job_id))
        else:
            job = self._entrance(settings).store.get(job_id)
        if job is None:
            raise JobNotFoundError(job_id)
        return job

    def wait(
        self,
        job_id: JobId,
        settings: Settings,
        *,
        timeout_s: float | None,
        on_loop: Callable[[], Coroutine[Any, Any, Job]],
    ) -> Job:
        """Return a job once it has ended; `on_loop` waits where the app is open here. Raises as `Endings.wait`."""
        if (here := self._open_here) is not None:
            return here.wait_for(on_loop(), longer_s=timeout_s)
        look = partial(self.get, settings=settings)
        return look_until_ended(job_id, look, timeout_s=timeout_s, clock=self._choices.clock, sleep=time.sleep)

    def cancel(self, job_id: JobId, settings: Settings, *, on_loop: Callable[[], Coroutine[Any, Any, Job]]) -> Job:
        """Cancel a job, or ask for its end; `on_loop` does so where the app is open here. Raises as `get`."""
        if (here := self._open_here) is not None:
            return here.wait_for(on_loop())
        before = self.get(job_id, settings)
        entrance = self._entrance(settings)
        job = entrance.store.cancel(job_id)
        if job is None:
            raise JobNotFoundError(job_id)
        if job.status is Status.CANCELLED and before.status is not Status.CANCELLED:
            entrance.tell(JobCancelled(job))
        return job

    def create_queue(self, name: str, settings: Settings) -> str:
        """Register a queue and return its name; raises InvalidRequestError or QueueExistsError."""
        if (here := self._open_here) is not None:
            return here.wait_for(here.opened.admission.create_queue(name))
        return _finish(self._entrance(settings).admission.create_queue(name))

    @property
    def _open_here(self) -> "_OpenHere | None":
        opened = self._opened
        # A fork takes what is open along, but not the thread whose loop serves it.
        return opened if opened is not None and opened.pid == os.getpid() else None

    def _entrance(self, settings: Settings) -> "_OwnEntrance":
        own = self._own
        if own is None or own.pid != os.getpid() or own.settings is not settings:
            # No lock, which a fork could leave held for ever: of two threads that come here at once, each gets one.
            admit = partial(make_admission, known_types=self._known_types)
            own = self._own = _open_entrance(self._choices, settings, self._bus, admit, self._tasks)
        return own


@dataclass(frozen=True, slots=True)
class _OpenHere:
    """An app that is open in this process."""

    opened: Opened
    loop: asyncio.AbstractEventLoop
    pid: int

    def wait_for(self, call: Coroutine[Any, Any, T], *, longer_s: float | None = 0.0) -> T:
        """Let the loop do it, and wait in this thread; `longer_s`: how long it may take by itself, None: for ever."""
        if _is_running_here(self.loop):
            call.close()
            raise GotaskqError("this would wait for the very loop it is called on; await the method without _sync here")
        answered: Future[T] = asyncio.run_coroutine_threadsafe(call, self.loop)
        try:
            wait_in_thread([answered], (longer_s or 0.0) + LOOP_ANSWERS_WITHIN_S)
            while longer_s is None and not answered.done() and self.loop.is_running():
                wait_in_thread([answered], LOOP_ANSWERS_WITHIN_S)
            if not answered.done():
                raise BackendUnavailableError("the loop of this TaskQ did not answer; is it blocked, or has it ended?")
            return answered.result()
        except CancelledError:  # with all else that the loop still did when it ended
            raise NotOpenError from None
        finally:
            answered.cancel()


class _PerThread(threading.local):
    """What each thread has for itself."""

    admission: Admission | None = None
    tasks: int = 0  # how many it knows


@dataclass(frozen=True, slots=True)
class _OwnEntrance:
    """A way into the store that belongs to this process, while the app is not open."""

    store: "SyncRedis"
    choices: Choices
    settings: Settings
    bus: EventBus
    admit: Callable[..., Admission]
    tasks: Mapping[str, AnyTask]
    pid: int
    telling: threading.Lock = field(default_factory=threading.Lock)
    mine: _PerThread = field(default_factory=_PerThread)

    @property
    def admission(self) -> Admission:
        """The calling thread's admission: it draws ids, which must never be drawn twice."""
        if self.mine.admission is None or self.mine.tasks < len(self.tasks):  # modules may be imported one by one
            bus = EventBus()
            bus.subscribe(JobEnqueued, self.tell)
            bus.subscribe(QueueCreated, self.tell)
            backend = cast("Backend", _NeverWaiting(self.store, self._create_own))  # as much of one as admission uses
            self.mine.admission = self.admit(
                self.choices, self.settings, backend=backend, bus=bus, types=types_of(self.tasks)
            )
            self.mine.tasks = len(self.tasks)
        self.store.refresh_rules()
        return self.mine.admission

    def _create_own(self, queue: str) -> bool:
        """Register a queue that a task names, as opening the app would have done; say whether it is one."""
        if all(task.at_the_door.queue != queue for task in self.tasks.values()):
            return False
        if self.store.create_queue(queue):
            self.tell(QueueCreated(queue))
        return True

    def tell(self, event: Event) -> None:
        with self.telling:  # observers know of no threads
            self.bus.publish(event)


class _NeverWaiting:
    """A store as admission calls it: each coroutine ends without having waited."""

    def __init__(self, store: "SyncRedis", create_own: Callable[[str], bool]) -> None:
        self._store = store
        self._create_own = create_own

    @property
    def partitions(self) -> int:
        return self._store.partitions

    @property
    def governor(self) -> Self:
        return self

    @property
    def rules(self) -> Mapping[str, QueueRules]:
        return self._store.rules

    def known_age_ms(self, _: str) -> int:
        return 0  # known to processes whose app is open alone, which look every second

    def quota(self, queue: str) -> Quota | None:
        return self._store.quota(queue)

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> list[EnqueueReply]:
        replies = self._store.enqueue(jobs, atomic=atomic)
        missing = {job.queue for job, reply in zip(jobs, replies, strict=True) if reply is Enqueued.NO_QUEUE}
        created = {queue for queue in missing if self._create_own(queue)}
        if not created:
            return replies
        if atomic:
            return self._store.enqueue(jobs, atomic=True)
        again = iter(self._store.enqueue([job for job in jobs if job.queue in created]))
        return [next(again) if job.queue in created else reply for job, reply in zip(jobs, replies, strict=True)]

    async def get(self, job_id: JobId) -> Job | None:
        return self._store.get(job_id)

    async def cancel(self, job_id: JobId) -> Job | None:
        return self._store.cancel(job_id)

    async def create_queue(self, name: str) -> bool:
        return self._store.create_queue(name)


def _finish(call: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    call.close()
    raise GotaskqError("a call waited for a loop where there is none; this is a bug in GoTaskQ")


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop() is loop
    return False


def _open_entrance(
    choices: Choices,
    settings: Settings,
    bus: EventBus,
    admit: Callable[..., Admission],
    tasks: Mapping[str, AnyTask],
) -> _OwnEntrance:
    url = choices.backend_or(settings)
    if is_local(url):
        raise ConfigError(
            "BACKEND_URL",
            "memory://",
            "jobs in memory are seen only inside `async with app`, in the process it runs in; open the app in this "
            "process, or name a store that processes share, such as redis://localhost:6379/0",
        )
    if not isinstance(url, str) or SCHEMES.get(url.partition("://")[0]) is not SCHEMES["redis"]:
        shown = mask_url(url) if isinstance(url, str) else type(url).__name__
        raise ConfigError("BACKEND_URL", shown, "this store has no way in without a loop; open the app, and await")
    from gotaskq.backends.redis.sync import SyncRedis

    rng = Random()  # not the app's: a fork copies that, with its state, and two processes would draw alike
    store = SyncRedis(
        url,
        StoreLimits(
            max_queue_depth=settings.max_queue_depth,
            max_completed_jobs=settings.max_completed_jobs,
            idempotency_ttl_ms=settings.idempotency_ttl_ms,
        ),
        layout=StoreLayout(key_prefix=settings.key_prefix, partitions=settings.partitions),
        clock=choices.clock,
        rng=rng,
    )
    return _OwnEntrance(store, replace(choices, rng=rng), settings, bus, admit, tasks, os.getpid())
