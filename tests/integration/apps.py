"""The app that the servers under test run: handlers that succeed, fail, wait and misbehave on demand.

Loaded by the server process, by name. A handler meets its test through files in the folder its payload names.
"""

import asyncio
import contextlib
import sys
import threading
from pathlib import Path

from gotaskq import Job, TaskQ

POLL_S = 0.005

app = TaskQ()
not_an_app = "a string"
running = 0


class SecretError(Exception):
    """A failure whose text tries to begin a line of its own."""


@app.handler("ok")
async def succeed(job: Job) -> None:
    """End well."""


@app.handler("fail")
async def fail(job: Job) -> None:
    raise ValueError("no luck")


@app.handler("flaky")
async def fail_twice(job: Job) -> None:
    if job.attempt <= 2:
        raise ConnectionError(f"attempt {job.attempt}")


@app.handler("mortal")
async def die_once(job: Job) -> None:
    """Fail; once replayed, wait."""
    if job.replays == 0:
        raise ValueError("no luck")
    await wait(job)


@app.handler("injure")
async def fail_with_line_breaks(job: Job) -> None:
    raise SecretError('first\r\n{"level":"fake"}\n\x1b[31mred\u2028last')


@app.handler("wait")
async def wait(job: Job) -> None:
    """Say how many run, then wait for the file `go`."""
    global running
    folder = Path(job.payload["folder"])
    running += 1
    try:
        note(folder / "started", f"{job.id} {running}")
        while not (folder / "go").exists():  # noqa: ASYNC110 - another process makes the file
            await asyncio.sleep(POLL_S)
    finally:
        running -= 1
    note(folder / "ended", str(job.id))


@app.handler("in-thread")
def name_thread(job: Job) -> None:
    note(Path(job.payload["folder"]) / "thread", threading.current_thread().name)


@app.handler("stubborn")
async def refuse_to_end(job: Job) -> None:
    note(Path(job.payload["folder"]) / "started", str(job.id))
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


@app.handler("stubborn-thread")
def block_for_ever(job: Job) -> None:
    note(Path(job.payload["folder"]) / "started", str(job.id))
    threading.Event().wait()


@app.handler("exit")
async def leave(job: Job) -> None:
    sys.exit(3)


def note(file: Path, line: str) -> None:
    with file.open("a") as lines:
        lines.write(f"{line}\n")
