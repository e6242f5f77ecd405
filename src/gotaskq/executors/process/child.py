"""The child process: receives jobs, runs their handlers in its main thread, one at a time, and tells how they ended.

Run by `supervisor` as `python -m gotaskq.executors.process.child DESCRIPTOR`. Imports little: every start pays for it.
Invariant: it does not outlive its worker; what it was running then is stopped at once: another worker gets the job.
"""

import asyncio
import atexit
import ctypes
import faulthandler
import inspect
import logging
import os
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from importlib import import_module
from types import FrameType
from typing import Any, Final, TextIO, cast

import msgspec

from gotaskq.context import RUNNING_JOB, SEAT, Context
from gotaskq.control import Cancel, Control, Discard, Retry, Snooze
from gotaskq.executor import is_async, takes_context
from gotaskq.executors.process.inside import ChildSeat, Line
from gotaskq.executors.process.pipe import (
    MAX_TEXT_BYTES,
    Asked,
    Beat,
    Logged,
    Raised,
    Ready,
    Reply,
    Returned,
    Run,
    Setup,
    Started,
)
from gotaskq.failure import clip, describe, message_of, traceback_of
from gotaskq.trail import MAX_STATE_BYTES

PR_SET_PDEATHSIG: Final = 1  # <sys/prctl.h>
STATM: Final = "/proc/self/statm"  # Linux: sizes in pages, the second is what is resident
STATM_BYTES: Final = 128

logger = logging.getLogger(__name__)


class Terminated(SystemExit):
    """SIGTERM came: clean up and end; not an Exception, so that no handler takes it for one of its own."""


def main() -> None:
    """Live as the worker says, until it closes its end."""
    line = Line(socket.socket(fileno=int(sys.argv[1])))
    setup = line.receive()
    if not isinstance(setup, Setup):
        return
    child = _Child(line, setup)
    signal.signal(signal.SIGTERM, child.terminate)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # the worker is meant, where a service manager sends it to all
    atexit.register(child.end_by_signal)  # the first registered is the last called
    _die_with(setup.worker_pid)
    sys.path[:] = setup.sys_path
    _prepare_output(line, setup.log_level)
    _limit_memory(setup.memory_limit_bytes)
    os.nice(setup.niceness)
    child.serve()


class _Child:
    """Runs one job after the other."""

    def __init__(self, line: Line, setup: Setup) -> None:
        self._line = line
        self._setup = setup
        self._is_busy = False
        self._is_terminated = False
        self._handlers: dict[str, Callable[[Context], object]] = {}
        self._seat = ChildSeat(line)
        self._memory = _Memory()

    def serve(self) -> None:
        """Run what comes, until the worker closes its end."""
        SEAT.set(self._seat)
        threading.Thread(target=self._watch, name="gotaskq-watch", daemon=True).start()
        self._line.send(Ready())
        while isinstance(frame := self._line.receive(), Run):
            self._is_busy = True
            self._line.send(Started())
            self._line.send(self._run(frame))
            self._is_busy = False

    def terminate(self, _number: int, _frame: FrameType | None) -> None:
        """Let the handler clean up, once; who does not end is killed by the worker."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._is_terminated = True
        self._seat.ask_to_end()
        raise Terminated

    def end_by_signal(self) -> None:
        """After SIGTERM end by it, so that nobody takes this for an exit of the handler's own."""
        if self._is_terminated:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def _run(self, run: Run) -> Reply:
        context = self._seat.begin(run.job)
        try:
            returned = copy_context().run(_call, self._find(run.handler), context)
        except Terminated:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is told to the worker
            return _told(error, self._memory.rss_bytes())
        finally:
            self._seat.end()
        if isinstance(returned, Control):
            return _told(returned, self._memory.rss_bytes())
        return Returned(_as_json(returned), self._memory.rss_bytes())

    def _find(self, name: str) -> Callable[[Context], object]:
        """Import a handler at its first job; the worker names it, never a job."""
        handler = self._handlers.get(name)
        if handler is None:
            module, _, qualname = name.partition(":")
            found: object = import_module(module)
            for part in qualname.split("."):
                found = getattr(found, part)
            handler = self._handlers[name] = _as_call(cast("Callable[..., object]", found))
        return handler

    def _watch(self) -> None:
        """Beat until the worker is gone; then end the job that runs at once, and an idle child that will not end."""
        poll = select.poll()
        poll.register(self._line.fileno(), 0)  # asks for nothing but the worker's hanging up
        try:
            # Where poll does not tell of hanging up, another parent than before does.
            while not poll.poll(self._setup.heartbeat_s * 1000) and os.getppid() == self._setup.worker_pid:
                self._line.send(Beat())
        except OSError:
            pass  # nobody listens any more
        if not self._is_busy:
            threading.Event().wait(self._setup.grace_s)  # the main thread is ending, and this one with it
        os.killpg(0, signal.SIGKILL)


class _Memory:
    """Looks at how much memory this process holds; after each job, so without opening a file each time."""

    def __init__(self) -> None:
        try:
            self._statm = os.open(STATM, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._statm = -1
        self._page_bytes = resource.getpagesize()

    def rss_bytes(self) -> int:
        """Return the resident bytes; where the system does not tell, the most there ever were."""
        try:
            return int(os.pread(self._statm, STATM_BYTES, 0).split()[1]) * self._page_bytes
        except (OSError, ValueError, IndexError):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return peak if sys.platform == "darwin" else peak * 1024


class _ToWorker(logging.Handler):
    """Sends log records to the worker's log."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line
        self._traceback_of = logging.Formatter().formatException

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + self._traceback_of(record.exc_info)
            self._line.send(Logged(record.levelno, clip(record.name, MAX_TEXT_BYTES), clip(message, MAX_TEXT_BYTES)))
        except Exception:  # noqa: BLE001 - a log line must not fail a job
            self.handleError(record)


def _die_with(worker_pid: int) -> None:
    """Have the kernel kill this process when the worker dies, even in a C call that never lets the watcher run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker_pid:
        sys.exit("the worker has died")


def _prepare_output(line: Line, log_level: int) -> None:
    """Print by the line, log to the worker, and leave a stack trace behind when a signal kills us."""
    for stream in (sys.stdout, sys.stderr):
        cast("TextIO", stream).reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[attr-defined]
    faulthandler.enable()
    root = logging.getLogger()
    root.addHandler(_ToWorker(line))
    root.setLevel(log_level)


def _limit_memory(limit_bytes: int) -> None:
    if not limit_bytes:
        return
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (OSError, ValueError) as error:
        logger.warning("memory cannot be limited to %d bytes here: %s", limit_bytes, error)


def _call(handler: Callable[[Context], object], context: Context) -> object:
    RUNNING_JOB.set(context.job)
    return handler(context)


def _as_call(handler: Callable[..., Any]) -> Callable[[Context], object]:
    """Return a handler of any kind as a plain function of the context; an `async def` has an event loop of its own."""
    wants_context, is_coroutine = takes_context(handler), is_async(handler)

    def call(context: Context) -> object:
        returned = handler(context if wants_context else context.job)
        if is_coroutine:
            return asyncio.run(returned)
        if inspect.iscoroutine(returned):
            returned.close()
            raise TypeError("a `def` handler returned a coroutine, which nothing awaits; make the handler `async def`")
        return returned

    return call


def _as_json(returned: object) -> bytes:
    """Return what a handler returned as JSON; the work is done, so what cannot be kept is only missed."""
    try:
        result = msgspec.json.encode(returned)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        logger.warning("result_not_kept: %s", describe(error))
        return b"null"
    if len(result) > MAX_STATE_BYTES:
        logger.warning("result_not_kept: %d bytes as JSON; at most %d are kept", len(result), MAX_STATE_BYTES)
        return b"null"
    return result


def _told(error: BaseException, rss_bytes: int) -> Reply:
    match error:
        case Retry(delay_s=delay_s, reason=reason):
            led_here = error.__cause__ or error.__context__
            cause = None if led_here is None else _as_raised(led_here, rss_bytes)
            return Asked("retry", delay_s, clip(reason, MAX_TEXT_BYTES), cause, rss_bytes)
        case Snooze(delay_s=delay_s):
            return Asked("snooze", delay_s, "", None, rss_bytes)
        case Cancel(reason=reason):
            return Asked("cancel", None, clip(reason, MAX_TEXT_BYTES), None, rss_bytes)
        case Discard(reason=reason):
            return Asked("discard", None, clip(reason, MAX_TEXT_BYTES), None, rss_bytes)
        case _:
            return _as_raised(error, rss_bytes)


def _as_raised(error: BaseException, rss_bytes: int) -> Raised:
    name, message = clip(type(error).__name__, MAX_TEXT_BYTES), clip(message_of(error), MAX_TEXT_BYTES)
    return Raised(name, message, traceback_of(error), rss_bytes)


if __name__ == "__main__":
    main()
