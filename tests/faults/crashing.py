"""Handlers that misbehave, to be run in child processes; those that meet the test get its port as their payload."""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
from typing import Final

from gotaskq.executors.process.inside import progress
from gotaskq.job import Job
from gotaskq.testing.handlers import HOST, STARTED, meet

SITTING: Final[list[socket.socket]] = []  # connections that last as long as the process

DESCENDANT: Final = f"""
import socket, sys
with socket.create_connection(("{HOST}", int(sys.argv[1]))) as desk:
    desk.sendall(b"descendant\\n")
    desk.recv(1)
"""


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
    progress(0.5, "half of it")
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
