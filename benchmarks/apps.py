"""The apps that `gotaskq run` serves to be measured; their handlers do nothing that could be taken for our work.

Used by name (`benchmarks.apps:app`) in the server commands of the questions.
"""

import asyncio
import os
import time
from functools import cache

from gotaskq import Job, TaskQ

STARTS_FILE = "BENCH_STARTS"  # the variable that names the file `stamped` writes to

app = TaskQ()
stamped = TaskQ()
held = TaskQ()
busy = TaskQ()
typed = TaskQ()


@app.handler("logger")
async def nothing(job: Job) -> None:
    """Do nothing."""


@typed.task("logger")
async def log(msg: str, copies: int = 1) -> None:
    """Do nothing, with arguments that are checked."""


@stamped.handler("logger")
async def stamp(job: Job) -> None:
    """Write down when the handler started; the clock is one for all processes of a machine."""
    started_ns = time.monotonic_ns()
    os.write(_starts(), b"%d\n" % started_ns)


@held.handler("held")
async def hold(job: Job) -> None:
    """Write down who started which job when, and hold it for a second."""
    os.write(_starts(), b"%d %d %d\n" % (os.getpid(), job.id, time.monotonic_ns()))
    await asyncio.sleep(1)


@busy.handler("burn", executor="process")
def burn(job: Job) -> None:
    """Compute until the child is ended."""
    while True:
        sum(range(10_000))


@cache
def _starts() -> int:
    return os.open(os.environ[STARTS_FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
