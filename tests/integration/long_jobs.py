"""The app of servers whose jobs take long: handlers that report, resume, are stopped, and say what they want.

Loaded by the server process, by name. A handler meets its test through files in the folder its payload names.
"""

import asyncio
import threading
from pathlib import Path

from gotaskq import Cancel, Context, Discard, Job, NoRetry, Retry, Snooze, TaskQ, current_context

POLL_S = 0.005

app = TaskQ()


@app.handler("ok")
async def succeed(job: Job) -> None:
    """End well."""


@app.handler("wait")
async def wait(job: Job) -> None:
    """Wait to be cancelled."""
    arrive(job)
    await asyncio.Event().wait()


@app.handler("heed")
def heed(ctx: Context) -> None:
    """Wait in a thread to be told to end."""
    arrive(ctx.job)
    while not ctx.wait_for_cancel(3_600):
        pass
    note(ctx.job, "stopped")


@app.handler("blind")
def never_look(job: Job) -> str:
    """Wait in a thread for the file `go`, whoever asks for an end."""
    arrive(job)
    pause = threading.Event()
    while not (folder(job) / "go").exists():
        pause.wait(POLL_S)
    return "done all the same"


@app.handler("in-child", executor="process")
def wait_in_child(job: Job) -> None:
    """Wait in a child process to be ended."""
    try:
        arrive(job)
        threading.Event().wait()
    finally:
        note(job, "stopped")


@app.handler("async-in-child", executor="process")
async def await_in_child(job: Job) -> None:
    """Wait on the event loop of a child process to be ended."""
    asyncio.get_running_loop().call_soon(arrive, job)  # once this waits
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        note(job, "stopped")
        raise


@app.handler("slow", timeout=0.01, retry=NoRetry())
async def be_slow(job: Job) -> None:
    await asyncio.Event().wait()


@app.handler("echo")
async def echo(job: Job) -> object:
    return job.payload


@app.handler("unkept")
async def return_what_is_no_json(job: Job) -> object:
    return object()


@app.handler("report")
async def report(ctx: Context) -> None:
    """Say how far it is, then wait for the file `go`."""
    ctx.progress(0.25, "page 1 of 4")
    while not (folder(ctx.job) / "go").exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(POLL_S)
    ctx.progress(1)


@app.handler("resume")
def count_to_three(job: Job) -> object:
    """Fail twice, each time a step further."""
    step = (job.checkpoint or {"step": 0})["step"] + 1
    current_context().checkpoint({"step": step})
    if step < 3:
        raise ConnectionError(f"lost at step {step}")
    return {"steps": step}


@app.handler("fail")
async def fail(job: Job) -> None:
    raise ValueError("no luck")


@app.handler("snooze")
async def snooze(job: Job) -> Snooze:
    return Snooze(3_600)


@app.handler("retry")
async def retry_later(job: Job) -> None:
    raise Retry(3_600, "busy")


@app.handler("cancel")
async def give_up(job: Job) -> None:
    raise Cancel("the order was withdrawn")


@app.handler("discard")
def throw_away(job: Job) -> None:
    raise Discard("no such address")


def folder(job: Job) -> Path:
    return Path(job.payload["folder"])


def arrive(job: Job) -> None:
    note(job, "started")


def note(job: Job, name: str) -> None:
    with (folder(job) / name).open("a") as lines:
        lines.write(f"{job.id}\n")
