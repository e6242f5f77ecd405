"""Processes that are measured: started in the repository with their output kept, and ended whatever happens.

Used for the servers of the harness, for Redis and for the peers' workers.
Invariant: a process started here, and every child it has, is dead when `started` is left.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from benchmarks.report import REPOSITORY
from benchmarks.tools import ToolError

HOST = "127.0.0.1"
START_WAIT_S = 15.0
STOP_WAIT_S = 5.0  # then the process is killed
POLL_S = 0.02
OUTPUT_SHOWN = 2000  # characters of a dead process's last words


class ServerError(Exception):
    """A server did not start or ended too early; the message carries its last output."""


class Process:
    """A process that was started, and what it has printed."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", output: IO[bytes]) -> None:
        self._name = name
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The code it ended with, or None while it runs."""
        return self._process.poll()

    def wait_until(self, is_ready: Callable[[], bool], *, what: str, wait_s: float = START_WAIT_S) -> None:
        """Look every 20 ms; raises ServerError when the process ends before, or takes too long."""
        deadline = time.monotonic() + wait_s
        while not is_ready():
            if self.code is not None:
                raise ServerError(f"{self._name} ended with code {self.code} before it {what}: {self.last_words()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self._name} has not {what} in {wait_s:g} s: {self.last_words()}")
            time.sleep(POLL_S)

    def last_words(self) -> str:
        """Return the end of what it printed."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace").strip()[-OUTPUT_SHOWN:] or "it printed nothing"


@contextmanager
def started(name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Start a process and end it afterwards; a ToolError inside tells of its end, if that came first."""
    with tempfile.TemporaryFile() as output:
        popen = subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its children can be ended with it
        )
        process = Process(name, popen, output)
        try:
            yield process
        except ToolError as error:
            if process.code is None:
                raise
            raise ServerError(f"{error}; it had ended with code {process.code}: {process.last_words()}") from error
        finally:
            _stop(popen)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(process: "subprocess.Popen[bytes]") -> None:
    _signal_group(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_WAIT_S)
    # Also after a clean end: a child that outlived its parent would take a core from the next server.
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
