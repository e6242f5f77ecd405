"""One child process as its worker sees it: started, given a job at a time, ended, and its end put into words.

Used by `executor`, on one event loop. A thread per child waits for its end: the one way that works on Linux and macOS,
on asyncio and uvloop.
Invariant: when `ended` is set, the child is reaped, the rest of its process group is killed, and all it said was read.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from typing import IO, Final, Self, assert_never, cast

import msgspec

from gotaskq.clock import Clock
from gotaskq.context import Context
from gotaskq.errors import ChildEndedError
from gotaskq.executors.process.options import ProcessOptions
from gotaskq.executors.process.output import Output
from gotaskq.executors.process.pipe import (
    Asked,
    Beat,
    Extended,
    FrameCutter,
    FrameError,
    Logged,
    Progress,
    Raised,
    Ready,
    Reply,
    Returned,
    Run,
    Saved,
    Setup,
    Started,
    ToWorker,
    encode,
)
from gotaskq.job import Job

CHILD: Final = "gotaskq.executors.process.child"
LAST_WORDS_S: Final = 1.0  # between a child's end and that of its pipes; a daemon it left behind may hold them open
WAITER_NAME: Final = "gotaskq-child-waiter"
ENDS: Final = 3  # the frames, stdout and stderr

# What makes an interpreter wait for a terminal, and what systemd tells the main process only.
NOT_FOR_CHILDREN: Final = frozenset(
    {"PYTHONINSPECT", "PYTHONSTARTUP", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"}
    | {"WATCHDOG_PID", "WATCHDOG_USEC"}
)

logger = logging.getLogger(__name__)


class Child(asyncio.Protocol):
    """A child process and the job it runs, if any."""

    def __init__(self, options: ProcessOptions, *, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._context: Context | None = None  # of the job that runs, for what its handler reports
        self._loop = asyncio.get_running_loop()
        self._cutter = FrameCutter()
        self._frames: asyncio.Transport | None = None
        self._outputs: list[asyncio.BaseTransport] = []
        self._is_retired = False
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._reply: asyncio.Future[Reply] | None = None
        self._open_ends = ENDS
        self._signalling = threading.Lock()  # no signal may go to the number of a child that is reaped
        self._is_reaped = False
        self._exit_code: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.job: Job | None = None
        self.has_started_job = False
        self.jobs_run = 0
        self.rss_bytes = 0
        self.heard_at_s = clock.monotonic_s()
        self.ended = asyncio.Event()

    @classmethod
    async def start(cls, options: ProcessOptions, *, clock: Clock) -> Self:
        """Start a child and wait until it is ready; raises ChildEndedError when it ends before, OSError without one."""
        child = cls(options, clock=clock)
        try:
            await child._launch()
            async with clock.timeout(options.start_timeout_s or None):
                await child._ready
        except TimeoutError:
            child.kill()
            raise ChildEndedError(f"child was not ready within {options.start_timeout_s:g} s and was killed") from None
        except BaseException:
            child._ready.cancel()  # nobody waits for it any more
            child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        """The child's process id; 0 before it has one."""
        return self._process.pid if self._process else 0

    async def run(self, run: Run, context: Context | None) -> Reply:
        """Have the child run a job, whose reports go to the context.

        Raises ChildEndedError when the child ends instead of telling how the job ended.
        """
        self.has_started_job = False
        self._context = context
        if self._frames is None or self._exit_code is not None:
            raise self._end_error()
        self._reply = self._loop.create_future()
        self.job = run.job
        self.heard_at_s = self._clock.monotonic_s()
        self._frames.write(encode(run))
        try:
            return await self._hear_from_it(self._reply)
        finally:
            self._reply = self._context = None
            self.job = None
            self.jobs_run += 1

    async def end(self) -> None:
        """End the child: SIGTERM, the grace, SIGKILL for its whole group; when cancelled, SIGKILL at once."""
        self._signal(signal.SIGTERM)
        try:
            async with self._clock.timeout(self._options.grace_s):
                await self.ended.wait()
        except TimeoutError:
            logger.warning("child_ignored_sigterm", extra={"child_pid": self.pid, "grace_s": self._options.grace_s})
        finally:
            self.kill()
        await self.ended.wait()

    def retire(self) -> None:
        """Let an idle child end by itself; one that cannot is killed after the grace."""
        self._is_retired = True
        if self._frames is not None:
            self._frames.close()

    def kill(self) -> None:
        """Kill the child and all of its process group that is left."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Listen no more, since the loop may end next: an idle child ends by itself, one that runs a job is killed."""
        if self.job is not None:
            self.kill()
        self.retire()
        for output in self._outputs:
            output.close()

    # -- what the child says -------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what the child says."""
        self.heard_at_s = self._clock.monotonic_s()
        try:
            for frame in self._cutter.feed(data):
                self._take(frame)
        except FrameError as error:
            logger.error("child_broke_the_pipe", extra={"child_pid": self.pid, "error": str(error)})  # noqa: TRY400
            self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the child closed its end: it has ended, or a handler closed what was not its own."""
        self._lose_end()
        if self._exit_code is None:
            self._loop.call_later(LAST_WORDS_S + (self._options.grace_s if self._is_retired else 0), self.kill)

    def _take(self, frame: ToWorker) -> None:
        match frame:
            case Returned() | Raised() | Asked():
                self.rss_bytes = frame.rss_bytes
                if self._reply is not None and not self._reply.done():
                    self._reply.set_result(frame)
            case Started():
                self.has_started_job = True
            case Progress() | Saved() | Extended():
                if self._context is not None:
                    _report(frame, self._context)
            case Logged(level, name, message):
                logging.getLogger(name).log(
                    level, "%s", message, extra={"child_pid": self.pid, "job_id": self._job_id()}
                )
            case Ready():
                if not self._ready.done():
                    self._ready.set_result(None)
            case Beat():
                pass  # heard, that is all

    async def _hear_from_it(self, reply: "asyncio.Future[Reply]") -> Reply:
        """Wait for the reply; kill a child that is silent for too long, which then is how the job ended."""
        limit_s = self._options.max_silence_s
        while limit_s and not reply.done():
            silent_s = self._clock.monotonic_s() - self.heard_at_s
            if silent_s >= limit_s:
                logger.warning("child_is_silent", extra={"child_pid": self.pid, "silent_s": silent_s})
                self.kill()
                break
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(limit_s - silent_s):
                    await asyncio.wait([reply])
        return await reply

    # -- its life ------------------------------------------------------------------------------------------------------

    async def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(ours.close)
            with theirs:
                process = self._process = _popen(theirs, self._options)
            threading.Thread(target=self._wait_for_end, args=(process,), name=WAITER_NAME, daemon=True).start()
            streams = {"stdout": process.stdout, "stderr": process.stderr}
            for stream in streams.values():
                on_failure.enter_context(cast("IO[bytes]", stream))
            self._frames, _ = await self._loop.create_unix_connection(lambda: self, sock=ours)
            for name, stream in streams.items():
                make = partial(Output, name, pid=process.pid, job_id=self._job_id, on_end=self._lose_end)
                output, _ = await self._loop.connect_read_pipe(make, stream)
                self._outputs.append(output)
            on_failure.pop_all()  # from here on the transports close what they were given
        self._frames.write(encode(_setup(self._options)))

    def _wait_for_end(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait in a thread for the child's end; kill what is left of its group while its number is still its own."""
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
            with self._signalling:
                exit_code = process.wait()
                self._is_reaped = True
        else:  # macOS before Python 3.13: between the two lines a signal could go astray
            exit_code = process.wait()
            self._is_reaped = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._note_exit, exit_code)

    def _note_exit(self, exit_code: int) -> None:
        self._exit_code = exit_code
        if self._open_ends:
            self._loop.call_later(LAST_WORDS_S, self._finish)
        else:
            self._finish()

    def _lose_end(self) -> None:
        self._open_ends -= 1
        if self._open_ends == 0 and self._exit_code is not None:
            self._finish()

    def _finish(self) -> None:
        if self.ended.is_set():
            return
        for transport in (self._frames, *self._outputs):
            if transport is not None:
                transport.close()
        self.ended.set()
        for waiting in (self._ready, self._reply):
            if waiting is not None and not waiting.done():
                waiting.set_exception(self._end_error())

    def _end_error(self) -> ChildEndedError:
        return ChildEndedError(describe_end(self._exit_code))

    def _signal(self, number: signal.Signals) -> None:
        with self._signalling, contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process is None or self._is_reaped:
                return
            if number is signal.SIGKILL:
                os.killpg(self.pid, number)  # its group has its number: it leads a session of its own
            else:
                os.kill(self.pid, number)

    def _job_id(self) -> str | None:
        return None if self.job is None else str(self.job.id)


def _report(frame: Progress | Saved | Extended, context: Context) -> None:
    """Say in the worker what the handler said in the child, where it was checked already."""
    match frame:
        case Progress(fraction, note):
            context.progress(fraction, note)
        case Saved(state_json):
            context.checkpoint(msgspec.Raw(state_json))
        case Extended(timeout_s):
            context.extend(timeout_s)
        case never:
            assert_never(never)


def describe_end(exit_code: int | None) -> str:
    """Say how a child ended; a negative code is the signal that ended it."""
    if exit_code is None or exit_code >= 0:
        return f"child exited with code {exit_code}"
    try:
        return f"child ended by signal {-exit_code} ({signal.Signals(-exit_code).name})"
    except ValueError:
        return f"child ended by signal {-exit_code}"


def _popen(theirs: socket.socket, options: ProcessOptions) -> "subprocess.Popen[bytes]":
    flags = ["-P"] if sys.flags.safe_path else []
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_FOR_CHILDREN}
    return subprocess.Popen(  # noqa: S603 - our own module, in this interpreter, without a shell
        [sys.executable, *flags, "-m", CHILD, str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(theirs.fileno(),),
        env=inherited if options.env is None else dict(options.env),
        start_new_session=True,  # Ctrl-C in a terminal is for the worker, which drains; and a group of its own to kill
    )


def _setup(options: ProcessOptions) -> Setup:
    return Setup(
        sys_path=list(sys.path),
        worker_pid=os.getpid(),
        log_level=logging.getLogger().getEffectiveLevel(),
        memory_limit_bytes=options.memory_limit_bytes,
        niceness=options.niceness,
        heartbeat_s=options.heartbeat_s,
        grace_s=options.grace_s,
    )
