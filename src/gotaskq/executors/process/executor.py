"""Runs `def` handlers in child processes: a job that crashes, hangs or eats memory takes only its own child with it.

Children are started when a call finds none idle, and kept; one runs one job at a time (docs/guides/cpu-bound-jobs.md).
Invariant: the end of a child is charged to the job it was running and to no other; one that died idle charges nobody.
"""

import asyncio
import logging
from random import Random
from typing import Final, assert_never

import msgspec

from gotaskq.clock import Clock, SystemClock
from gotaskq.context import SEAT, Context
from gotaskq.control import Cancel, Control, Discard, Retry, Snooze
from gotaskq.errors import ChildEndedError, RemoteError
from gotaskq.executor import Handler, importable_name
from gotaskq.executors.process.options import ProcessOptions
from gotaskq.executors.process.pipe import Asked, Raised, Reply, Returned, Run
from gotaskq.executors.process.supervisor import Child
from gotaskq.job import Job

MAX_STARTS: Final = 3  # for one job; then the attempt fails and the job's own backoff takes over
BACKOFF_JITTER: Final = 0.4  # so that slots whose children died together do not start the next ones together

logger = logging.getLogger(__name__)


class ProcessExecutor:
    """Child processes, grown on demand to `max_children`."""

    def __init__(
        self,
        options: ProcessOptions | None = None,
        *,
        max_children: int = 1,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        self._options = options or ProcessOptions()
        self.max_children = max_children
        self._clock = clock or SystemClock()
        self._rng = rng or Random()
        self._places = asyncio.Semaphore(0)
        self._children: set[Child] = set()
        self._idle: list[Child] = []  # the latest is used first: the others grow cold, and only as many as needed run
        self._failed_starts = 0

    abandoned = 0  # a child that will not end is killed

    @property
    def children(self) -> list[Child]:
        """The children that live, or were not seen to end yet."""
        self._children = {child for child in self._children if not child.ended.is_set()}
        return list(self._children)

    def open(self) -> None:
        """Get ready to run; children start when they are needed."""
        self._places = asyncio.Semaphore(self._options.max_children or self.max_children)

    def close(self) -> None:
        """Let idle children end, kill those that run a job; waits for none."""
        self._idle.clear()
        for child in self.children:
            child.close()

    async def run(self, handler: Handler, job: Job) -> object:
        """Run the handler in a child and return what it returned, as JSON has it.

        Cancelling this call ends the child, and is over when it has ended: SIGTERM, the grace, SIGKILL. Cancelling it
        again is SIGKILL at once. Raises RemoteError for what the handler raised, ChildEndedError when its child ended.
        """
        run = Run(importable_name(handler), job)
        seat = SEAT.get(None)
        context = None if seat is None else seat.context()  # what the handler says in its child is said here
        async with self._places:
            child, reply = await self._run_in_some_child(run, context)
            self._keep_or_replace(child)
        return _result(reply)

    async def _run_in_some_child(self, run: Run, context: Context | None) -> tuple[Child, Reply]:
        while True:
            is_new = not self._idle
            child = await self._start() if is_new else self._idle.pop()
            try:
                return child, await child.run(run, context)
            except asyncio.CancelledError:
                await child.end()
                raise
            except ChildEndedError as error:
                if is_new or child.has_started_job:
                    raise
                logger.warning("idle_child_ended", extra={"child_pid": child.pid, "error": str(error)})

    def _keep_or_replace(self, child: Child) -> None:
        options = self._options
        is_worn = 0 < options.max_jobs_per_child <= child.jobs_run
        is_fat = 0 < options.max_rss_bytes < child.rss_bytes
        if is_worn or is_fat:
            logger.debug(
                "child_replaced",
                extra={"child_pid": child.pid, "jobs_run": child.jobs_run, "rss_bytes": child.rss_bytes},
            )
            child.retire()
        else:
            self._idle.append(child)

    async def _start(self) -> Child:
        """Start a child; after starts that failed, wait first. Raises ChildEndedError when it fails again and again."""
        for _ in range(MAX_STARTS):
            if self._failed_starts:
                await self._clock.sleep(self._backoff_s())
            try:
                child = await Child.start(self._options, clock=self._clock)
            except (ChildEndedError, OSError) as error:
                self._failed_starts += 1
                logger.warning("child_start_failed", extra={"error": str(error), "failed_starts": self._failed_starts})
                last = error
            else:
                self._failed_starts = 0
                self._children = {*self.children, child}
                return child
        raise ChildEndedError(
            f"no child could be started, {MAX_STARTS} times in a row; the last one: {last}. "
            f"What it printed is in the log, as child_output"
        )

    def _backoff_s(self) -> float:
        options = self._options
        delay_s = min(options.first_backoff_s * 2.0 ** min(self._failed_starts - 1, 62), options.max_backoff_s)
        return delay_s + self._rng.uniform(0, BACKOFF_JITTER * delay_s)


def _result(reply: Reply) -> object:
    match reply:
        case Returned(result=result):
            return msgspec.json.decode(result)
        case Raised(type_name, message, traceback):
            raise RemoteError(type_name, message, traceback=traceback)
        case Asked():
            raise _as_control(reply)
        case never:
            assert_never(never)


def _as_control(asked: Asked) -> Control:
    match asked.control:
        case "retry":
            retry = Retry(asked.delay_s, asked.reason)
            if (cause := asked.cause) is not None:
                retry.__cause__ = RemoteError(cause.type_name, cause.message, traceback=cause.traceback)
            return retry
        case "snooze":
            return Snooze(asked.delay_s or 0.0)
        case "cancel":
            return Cancel(asked.reason)
        case "discard":
            return Discard(asked.reason)
        case never:
            assert_never(never)
