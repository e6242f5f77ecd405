"""Runs `def` handlers in threads, at most as many at once as there are slots.

A thread cannot be stopped from outside. A call that is cancelled is abandoned: its thread runs on, is counted, and its
place is given to a new one. All threads are daemons, so that a handler that never returns cannot keep the process from
ending; this is what the standard library's pool cannot do.
"""

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Final

from gotaskq.executor import Handler
from gotaskq.job import Job

THREAD_NAME: Final = "gotaskq-handler"


class _Call:
    """One handler call on its way through a thread, with a copy of the context it was made in."""

    __slots__ = ("_call", "_loop", "is_abandoned", "is_running", "result")

    def __init__(self, handler: Handler, job: Job) -> None:
        self._loop = asyncio.get_running_loop()
        self._call: Callable[[], object] = partial(copy_context().run, partial(handler, job))
        self.result: asyncio.Future[object] = self._loop.create_future()
        self.is_running = False
        self.is_abandoned = False

    def run(self) -> None:
        """Call the handler in this thread, and take what it gave back to the loop."""
        try:
            deliver = partial(self.result.set_result, _refuse_coroutine(self._call()))
        except BaseException as error:  # noqa: BLE001 - carried to the attempt, which knows what to make of it
            deliver = partial(self.result.set_exception, _as_carried(error))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._deliver, deliver)

    def _deliver(self, deliver: Callable[[], None]) -> None:
        if not self.result.done():
            deliver()


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
        """Run the handler in a thread and return what it returns; cancelling this call abandons the thread."""
        call = _Call(handler, job)
        with self._lock:
            self._unfinished += 1
            self._calls.put(call)
            self._grow()
        try:
            return await call.result
        except asyncio.CancelledError:
            self._abandon(call)
            raise

    def _grow(self) -> None:
        if self._threads < min(self._unfinished, self.max_threads):
            self._threads += 1
            threading.Thread(target=self._serve, name=THREAD_NAME, daemon=True).start()

    def _abandon(self, call: _Call) -> None:
        with self._lock:
            call.is_abandoned = True
            if call.is_running:  # its thread is lost to us: the next call may start another in its place
                self._threads -= 1
                self._abandoned += 1
                self._unfinished -= 1

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            with self._lock:
                call.is_running = not call.is_abandoned
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
