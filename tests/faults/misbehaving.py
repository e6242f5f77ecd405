"""The app of a worker whose handlers ignore what they are told, or crash; its graces are short, so tests are.

`deaf` and `stuck` hang for as many attempts as their payload's `failures` says, `gated` until the gate is open; the
others harm the process they run in, which is a child, or for `lethal` a child once it has cost a worker.
"""

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from typing import Any, Final

from tests.faults import crashing
from tests.faults.handlers import LOG_VARIABLE, TYPES, HandlerLog, add_handlers, count_tasks_at

from gotaskq import Job, TaskQ
from gotaskq.engine import deadlines, worker
from gotaskq.executors.process.options import ProcessOptions

TIMEOUT_S: Final = 0.3
GRACE_S: Final = 0.2
POLL_S: Final = 0.02
CHILD_BYTES: Final = 1 << 30


def shorten_graces() -> None:
    """Let this process give up soon; only ever called in a worker's own."""
    for module, name in (
        (deadlines, "STOP_GRACE_S"),
        (deadlines, "LAST_GRACE_S"),
        (worker, "LAST_GRACE_S"),
        (worker, "CANCEL_GRACE_S"),
    ):
        assert hasattr(module, name)
        setattr(module, name, GRACE_S)


def gate_beside(log: Path) -> Path:
    """Return the file that opens the gate by being there."""
    return log.with_suffix(".gate")


def create_app() -> TaskQ:
    """Return the app, with the sane handlers too."""
    log = HandlerLog(Path(os.environ.get(LOG_VARIABLE, os.devnull)))
    if LOG_VARIABLE in os.environ:  # else a test imports this, and others after it want the graces as they are
        shorten_graces()
        count_tasks_at(log.path)
    app = add_handlers(TaskQ(children=ProcessOptions(memory_limit_bytes=CHILD_BYTES)), log, TYPES)

    async def deaf(job: Job) -> None:
        log.note("start", job)
        while hangs(job):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3_600)
        log.note("end", job)

    def stuck(job: Job) -> None:
        log.note("start", job)
        if hangs(job):
            threading.Event().wait()
        log.note("end", job)

    async def gated(job: Job) -> None:
        log.note("start", job)
        while not gate_beside(log.path).exists():  # noqa: ASYNC110 - the test opens it, another process
            await asyncio.sleep(POLL_S)
        log.note("end", job)

    app.handler("deaf", timeout=TIMEOUT_S)(deaf)
    app.handler("stuck", timeout=TIMEOUT_S)(stuck)
    app.handler("deaf_for_good")(deaf)
    app.handler("stuck_for_good")(stuck)
    app.handler("gated")(gated)
    app.handler("segfault", executor="process")(crashing.segfault)
    app.handler("killed", executor="process")(crashing.kill_self)
    app.handler("hungry", executor="process")(crashing.be_hungry)
    app.handler("lethal", isolate_after_crash=True)(crashing.kill_self)
    return app


def hangs(job: Job) -> bool:
    """Whether this attempt is one of those that do not end."""
    payload: Any = job.payload
    return bool(job.attempt <= payload["failures"])


app = create_app()
