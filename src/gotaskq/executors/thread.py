"""Runs `def` handlers in threads, at most as many at once as there are slots.

A thread cannot be stopped from outside. A handler whose call is cancelled can see it in its context, and is waited for.
When the call is cancelled again it is abandoned: its thread runs on, is counted, and its place is given to a new one.
All threads are daemons, so that a handler that never returns cannot keep the process from ending; this is what the
standard library's pool cannot do.
"""

import asyncio
import contextlib
import inspect
import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Final, cast

from gotaskq.executor import Handler
from gotaskq.job import Job

THREAD_NAME: Final = "gotaskq-handler"

logger = logging.getLogger(__name__)


class _Call:
    """One handler call on its way through a thread, with a copy of the context it was made in."""

    __slots__ = (
        "_call",
        "_ended",
        "_error",
        "_loop",
        "_result",
        "has_begun",
        "is_abandoned",
        "is_finished",
        "is_running",
    )

    def __init__(self, handler: Callable[[Job], object], job: Job) -> None:
        self._loop = asyncio.get_running_loop()
        self._call: Callable[[], object] = partial(copy_context().run, partial(handler, job))
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._result: object = None
        self._error: BaseException | None = None
        self.has_begun = False
        self.is_finished = False
        self.is_running = False
        self.is_abandoned = False

    def run(self) -> None:
        """Call the handler in this thread, and take what it gave back to the loop."""
        try:
            self._result = _refuse_coroutine(self._call())
        except BaseException as error:  # noqa: BLE001 - carried to the attempt, which knows what to make of it
            self._error = _as_carried(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._finish)

    async def wait(self) -> object:
        """Return what the handler returned, or raise what it raised; may be cancelled, and called again then."""
        if not self.is_finished:
            self._ended = self._loop.create_future()  # a cancelled one cannot be waited for again
            await self._ended
        if self._error is not None:
            raise self._error
        return self._result

    def _finish(self) -> None:
        self.is_finished = True
        if not self._ended.done():
            self._ended.set_result(None)


class ThreadExecutor:
    """A pool of daemon threads, grown on demand to `max_threads`; abandoned ones do not count."""

    def __init__(self, max_threads: int) -> None:
        self.max_threads = max_threads
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()  # guards the counts and each call's flags
        self._threads = 0
        self._unfinished = 0  # calls queued or running in threads that count
        self._abandoned = 0

    @property
    def abandoned(self) -> int:
        """Return how many threads still run a call that nobody waits for."""
        return self._abandoned

    def open(self) -> None:
        """Nothing to get: a thread starts when a call finds none free."""

    def close(self) -> None:
        """Let free threads end; never waits for one that runs."""
        with self._lock:
            for _ in range(self._threads):
                self._calls.put(None)
            self._threads = 0

    async def run(self, handler: Handler, job: Job) -> object:
        """Run the handler in a thread and return what it returns.

        Cancelling this call waits for the handler to see it and end; cancelling it again abandons the thread.
        """
        call = _Call(cast("Callable[[Job], object]", handler), job)
        with self._lock:
            self._unfinished += 1
            self._calls.put(call)
            self._grow()
        try:
            return await call.wait()
        except asyncio.CancelledError:
            if self._withdraw(call):
                raise
        try:
            return await call.wait()
        except asyncio.CancelledError:
            if not call.is_finished:  # else it is the handler's own
                self._abandon(call, job)
            raise

    def _grow(self) -> None:
        if self._threads < min(self._unfinished, self.max_threads):
            self._threads += 1
            threading.Thread(target=self._serve, name=THREAD_NAME, daemon=True).start()

    def _withdraw(self, call: _Call) -> bool:
        """Take a call back that no thread has begun; say whether it was one."""
        with self._lock:
            call.is_abandoned = not call.has_begun
            return call.is_abandoned

    def _abandon(self, call: _Call, job: Job) -> None:
        with self._lock:
            call.is_abandoned = True
            if call.is_running:  # its thread is lost to us: the next call may start another in its place
                self._threads -= 1
                self._abandoned += 1
                self._unfinished -= 1
        if call.is_running:
            about = {"job_id": str(job.id), "type": job.type, "attempt": job.attempt}
            logger.error("handler_would_not_end", extra=about)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            with self._lock:
                call.is_running = call.has_begun = not call.is_abandoned
            if call.is_running:
                call.run()
            with self._lock:
                if call.is_running and call.is_abandoned:
                    self._abandoned -= 1
                    return
                call.is_running = False
                self._unfinished -= 1


def _refuse_coroutine(returned: object) -> object:
    """Pass on what a handler returned; a coroutine means that none of it has run, which must not look like success."""
    if not inspect.iscoroutine(returned):
        return returned
    returned.close()
    raise TypeError("a `def` handler returned a coroutine, which nothing awaits; make the handler `async def`")


def _as_carried(error: BaseException) -> BaseException:
    """Return the error as a future can carry it: StopIteration cannot cross a coroutine."""
    return RuntimeError(f"the handler raised {error!r}") if isinstance(error, StopIteration) else error
