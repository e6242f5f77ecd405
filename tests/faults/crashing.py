"""Handlers that misbehave, to be run in child processes; those that meet the test get its port as their payload."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
from contextvars import Context as ContextOfCode
from contextvars import copy_context
from typing import Final

from gotaskq.context import Context, current_context
from gotaskq.control import Cancel, Discard, Retry, Snooze
from gotaskq.errors import NoAttemptError
from gotaskq.job import Job
from gotaskq.testing.handlers import HOST, STARTED, meet

LEFT_BEHIND: Final[list[ContextOfCode]] = []
SITTING: Final[list[socket.socket]] = []  # connections that last as long as the process

DESCENDANT: Final = f"""
import socket, sys
with socket.create_connection(("{HOST}", int(sys.argv[1]))) as desk:
    desk.sendall(b"descendant\\n")
    desk.recv(1)
"""


def end_while_looking(ctx: Context) -> None:
    """Have SIGTERM come in the middle of `ctx.wait_for_cancel`, which holds a lock there."""
    with ctx._asked._cond:  # type: ignore[attr-defined]
        os.kill(os.getpid(), signal.SIGTERM)
        ctx._asked.is_set()


def leave_code_behind(job: Job) -> None:
    """Leave code behind that looks for its context when the next job runs here."""
    LEFT_BEHIND.append(copy_context())


def look_as_the_one_before(job: Job) -> list[object]:
    own = current_context().job.payload
    try:
        return [own, LEFT_BEHIND[-1].run(current_context).job.payload]
    except NoAttemptError as error:
        return [own, type(error).__name__]


def tell_pid(job: Job) -> int:
    return os.getpid()


def segfault(job: Job) -> None:
    ctypes.string_at(0)


def exit_3(job: Job) -> None:
    os._exit(3)


def kill_self(job: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def make_quiet(job: Job) -> str:
    os.kill(os.getpid(), signal.SIGUSR1)
    return "still here"


def allocate(job: Job) -> int:
    return len(bytearray(job.payload))


def be_hungry(job: Job) -> int:
    return len(bytearray(job.payload["bytes"]))


def ignore_sigterm(job: Job) -> str:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return meet(job)


def clean_up(job: Job) -> None:
    with socket.create_connection((HOST, job.payload)) as desk:
        try:
            desk.sendall(STARTED)
            desk.recv(1)
        finally:
            desk.sendall(b"cleaned up\n")


def sit(job: Job) -> int:
    """Return, and leave a connection to the test open for as long as this process lives."""
    desk = socket.create_connection((HOST, job.payload))
    desk.sendall(b"%d\n" % os.getpid())
    SITTING.append(desk)
    return os.getpid()


def spin(job: Job) -> None:
    sit(job)
    while True:
        pass


def hold_the_gil(job: Job) -> None:
    sit(job)
    ctypes.PyDLL(None).sleep(1_000)


def leave_a_descendant(job: Job) -> None:
    subprocess.Popen([sys.executable, "-c", DESCENDANT, str(job.payload)])
    meet(job)
    os._exit(1)


def fork(job: Job) -> str:
    """Return twice: once here, once in a process forked off, which nobody has asked."""
    return "forked off" if os.fork() == 0 else "asked"


def close_everything(job: Job) -> None:
    with socket.create_connection((HOST, job.payload)) as desk:
        desk.sendall(STARTED)
        desk.recv(1)
        for descriptor in range(3, 64):
            if descriptor != desk.fileno():
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        desk.recv(1)


def speak(job: Job) -> None:
    logging.getLogger("shop.mail").warning("sold %s", "out")
    current_context().progress(0.5, "half of it")
    current_context().checkpoint({"page": 4})
    current_context().extend(60)
    print("printed")
    print("printed, too", file=sys.stderr)
    sys.stdout.write("without an end")


def return_a_set(job: Job) -> object:
    return {1}.__iter__()


def return_much(job: Job) -> str:
    return "x" * 65_536


def raise_at_length(job: Job) -> None:
    raise LookupError("y" * 10_000 + "\ud800")


def tell_environment(job: Job) -> list[str]:
    return sorted(name for name in os.environ if name != "LC_CTYPE")  # which the interpreter may set by itself


def retry(job: Job) -> None:
    raise Retry(5, "busy")


def retry_after_an_error(job: Job) -> None:
    empty: dict[str, int] = {}
    try:
        empty["page"]
    except KeyError as error:
        raise Retry from error


def snooze(job: Job) -> None:
    raise Snooze(30)


def return_a_snooze(job: Job) -> Snooze:
    return Snooze(30)


def cancel(job: Job) -> None:
    raise Cancel("no need")


def discard(job: Job) -> None:
    raise Discard("no use")


async def wait_a_moment(ctx: Context) -> list[str]:
    await asyncio.sleep(0)
    return ["waited", str(ctx.job.id)]
