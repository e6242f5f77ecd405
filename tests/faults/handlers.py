"""The jobs of the fault tests, and the log their handlers keep: a line when one starts and when it ends.

A process that has a log also answers SIGUSR2: it writes down how many tasks its loop has (`tests.faults.footprint`).

Served by worker processes (`tests.faults.handlers:app`, the log named by HANDLER_LOG) and by apps inside a test. Each
line is one write to a file opened with O_APPEND, so it survives a `kill -9` and never mixes with another process's.
"""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gotaskq import Job, TaskQ
from gotaskq.job import held_lease

LOG_VARIABLE: Final = "HANDLER_LOG"
TYPES_VARIABLE: Final = "HANDLER_TYPES"  # the job types this process knows, by commas; unset: all
READINGS: Final = 10
TYPES: Final = ("noop", "slow", "fail", "poison", "block", "hold", "flaky", "alone")
EXCLUSIVE: Final = "alone"


@dataclass(slots=True)
class Run:
    """One run of a handler, as it told; instants are of the machine's monotonic clock, one for all processes."""

    job_id: int
    attempt: int
    nonce: str
    pid: int
    type: str
    started_s: float
    started_at_ms: int
    ended_s: float | None = None
    starts: int = 1  # more than one: the same lease was run twice


class HandlerLog:
    """The file the handlers write to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def note(self, what: str, job: Job) -> None:
        """Write one line."""
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        words = (what, job.id, job.attempt, held_lease(job).nonce, os.getpid(), job.type, time.monotonic())
        os.write(self._file, f"{' '.join(map(str, words))}\n".encode())

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def runs(self) -> list[Run]:
        """Return the runs so far, in the order they started."""
        runs: dict[tuple[int, str], Run] = {}
        began_s = wall_clock_began_s()
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            what, job_id, attempt, nonce, pid, job_type, at_s = line.split(" ")
            key = (int(job_id), nonce)
            if what == "end":
                runs[key].ended_s = float(at_s)
            elif key in runs:
                runs[key].starts += 1
            else:
                runs[key] = Run(
                    int(job_id),
                    int(attempt),
                    nonce,
                    int(pid),
                    job_type,
                    started_s=float(at_s),
                    started_at_ms=int((began_s + float(at_s)) * 1000),
                )
        return list(runs.values())

    def started(self) -> set[int]:
        """Return the ids of the jobs whose handler has started."""
        return {run.job_id for run in self.runs()}

    def ended_s(self, job_id: int) -> float:
        """Return when the one run of this job ended, on the machine's monotonic clock."""
        [ended_s] = [run.ended_s for run in self.runs() if run.job_id == job_id]
        assert ended_s is not None
        return ended_s

    def running(self) -> set[int]:
        """Return the ids of the jobs with a run that has not ended."""
        return {run.job_id for run in self.runs() if run.ended_s is None}


def wall_clock_began_s() -> float:
    """Return the instant at which the machine's monotonic clock would have shown 0, as we see it.

    Handlers tell the monotonic instant only: their own wall clock may be what is wrong.
    """
    # A wait between the two readings makes the difference smaller, never larger; once in a few times there is none.
    return max(time.time() - time.monotonic() for _ in range(READINGS))


def add_handlers(app: TaskQ, log: HandlerLog, types: Collection[str] = TYPES) -> TaskQ:
    """Register a handler for each of these job types; each runs what `work` does for its type."""

    async def handle(job: Job) -> None:
        log.note("start", job)
        await work(job)
        log.note("end", job)

    for job_type in types:
        app.handler(job_type, exclusive=job_type == EXCLUSIVE)(handle)
    return app


async def work(job: Job) -> None:
    """Do what a job of this type does."""
    payload: Any = job.payload or {}
    match job.type:
        case "slow" | "alone":
            await asyncio.sleep(payload["ms"] / 1000)
        case "fail":
            raise ValueError("this job always fails")
        case "flaky":
            if job.attempt <= payload["failures"]:
                raise ValueError(f"attempt {job.attempt} fails")
        case "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        case "block":
            until_s = time.monotonic() + payload["ms"] / 1000
            while time.monotonic() < until_s:
                sum(range(1_000))
        case "hold" if job.attempt == 1:  # the GIL too, so that no thread of this process runs
            ctypes.PyDLL(None).usleep(payload["ms"] * 1_000)
        case _:
            pass


def task_counts(log: Path, pid: int) -> Path:
    """Return where a process writes how many tasks it has: a line for each SIGUSR2."""
    return log.with_suffix(f".tasks.{pid}")


def count_tasks_at(log: Path) -> None:
    """Answer SIGUSR2, which comes while the loop runs: all processes of a world are up before they are asked."""
    path = task_counts(log, os.getpid())

    def answer(*_: object) -> None:
        with path.open("a") as file:
            file.write(f"{len(asyncio.all_tasks())}\n")

    signal.signal(signal.SIGUSR2, answer)


def create_app() -> TaskQ:
    """Return the app of a worker process, as its environment describes it."""
    log = HandlerLog(Path(os.environ.get(LOG_VARIABLE, os.devnull)))
    if LOG_VARIABLE in os.environ:
        count_tasks_at(log.path)
    types = os.environ.get(TYPES_VARIABLE, ",".join(TYPES)).split(",")
    return add_handlers(TaskQ(), log, types)


app = create_app()
