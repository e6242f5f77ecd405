"""Handlers for the executor suite: each as a `def` and as an `async def`, importable by name, for any executor.

Those that meet the test do so over a loopback connection, whose port is the job's payload: that works from a thread, a
task and another process alike. Imports no pytest, since children import it.
"""

import asyncio
import contextlib
import socket
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from gotaskq.executor import Handler
from gotaskq.job import Job

HOST: Final = "127.0.0.1"
STARTED: Final = b"started\n"

user: ContextVar[str] = ContextVar("user", default="nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """One handler for each behaviour the suite asks for."""

    echo: Handler  # returns the payload
    show_bytes: Handler  # returns the payload's bytes as text
    identify: Handler  # returns what the job says of itself
    fail: Handler  # raises ValueError("no luck")
    leave: Handler  # raises SystemExit(3)
    remember: Handler  # returns the context variable `user` as it found it, and changes it
    meet: Handler  # says that it has started, waits for a line, returns it
    linger: Handler  # does as `meet`, whatever interrupts it


def echo(job: Job) -> object:
    """Return the payload."""
    payload: object = job.payload
    return payload


def show_bytes(job: Job) -> str:
    """Return the payload's bytes as text."""
    return job.payload_json.decode()


def identify(job: Job) -> list[object]:
    """Return what the job says of itself."""
    return [job.id, job.type, job.queue, job.attempt, job.status.value]


def fail(job: Job) -> None:
    """Raise."""
    raise ValueError("no luck")


def leave(job: Job) -> None:
    """Ask the interpreter to end."""
    raise SystemExit(3)


def remember(job: Job) -> str:
    """Return what an earlier job left in the context, and leave something."""
    found = user.get()
    user.set("eve")
    return found


def meet(job: Job) -> str:
    """Say that it has started, and return the line that comes back; nothing when the test has gone."""
    with socket.create_connection((HOST, job.payload)) as desk, desk.makefile() as answer:
        desk.sendall(STARTED)
        return answer.readline().strip()


def linger(job: Job) -> str:
    """Do as `meet`, and go on waiting whatever is raised meanwhile."""
    with socket.create_connection((HOST, job.payload)) as desk, desk.makefile() as answer:
        desk.sendall(STARTED)
        while True:
            with contextlib.suppress(BaseException):
                return answer.readline().strip()


async def echo_async(job: Job) -> object:
    """Return the payload."""
    return echo(job)


async def show_bytes_async(job: Job) -> str:
    """Return the payload's bytes as text."""
    return show_bytes(job)


async def identify_async(job: Job) -> list[object]:
    """Return what the job says of itself."""
    return identify(job)


async def fail_async(job: Job) -> None:
    """Raise."""
    fail(job)


async def leave_async(job: Job) -> None:
    """Ask the interpreter to end."""
    leave(job)


async def remember_async(job: Job) -> str:
    """Return what an earlier job left in the context, and leave something."""
    return remember(job)


async def meet_async(job: Job) -> str:
    """Say that it has started, and return the line that comes back; nothing when the test has gone."""
    answer, desk = await asyncio.open_connection(HOST, job.payload)
    with contextlib.closing(desk):
        desk.write(STARTED)
        return (await answer.readline()).decode().strip()


async def linger_async(job: Job) -> str:
    """Do as `meet`, and go on waiting whatever is raised meanwhile."""
    answer, desk = await asyncio.open_connection(HOST, job.payload)
    with contextlib.closing(desk):
        desk.write(STARTED)
        while True:
            with contextlib.suppress(BaseException):
                return (await answer.readline()).decode().strip()


DEF_HANDLERS: Final = Handlers(
    echo=echo,
    show_bytes=show_bytes,
    identify=identify,
    fail=fail,
    leave=leave,
    remember=remember,
    meet=meet,
    linger=linger,
)
ASYNC_HANDLERS: Final = Handlers(
    echo=echo_async,
    show_bytes=show_bytes_async,
    identify=identify_async,
    fail=fail_async,
    leave=leave_async,
    remember=remember_async,
    meet=meet_async,
    linger=linger_async,
)
