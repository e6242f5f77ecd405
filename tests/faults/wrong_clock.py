"""A clock that is wrong, for one process at a time: libfaketime stands between the process and the machine's clock.

It is the wall clock that is wrong, and may be set while the process runs; durations pass as they do, as on a machine
whose clock is set.
"""

import importlib.util
import platform
import sys
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Final

import pytest
from tests.integration.server_process import ServerProcess
from tests.redis_servers import RedisServer

LIBRARY: Final = Path("vendor", "libfaketime", "src", "libfaketime.so.1")
NEAR_S: Final = 10.0  # a clock that is set is off by minutes; a `Date` is cut to seconds, and answers take their time


def library() -> Path:
    """Return the library; skips the test where there is none to install, and fails where it is not installed."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("needs libfaketime, whose wheel is for Linux on x86-64 alone: clock faults are NOT tried here")
    spec = importlib.util.find_spec("libfaketime")
    assert spec is not None, "libfaketime is not installed: it is one of the dev extras"
    assert spec.origin is not None
    return Path(spec.origin).parent / LIBRARY


class WrongClock:
    """The clock of whatever process is started with its `env`; right until it is set."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.env = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, offset_s: int) -> None:
        """Let the clock be so far ahead of the machine's from now on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+d}")
        fresh.rename(self._file)  # a reader sees the old one or the new one


def is_off(process: ServerProcess, offset_s: int) -> bool:
    """Whether a process of ours takes now for what is so far ahead of it."""
    date = parsedate_to_datetime(process.get("/healthz").headers["date"])
    return abs(date.timestamp() - time() - offset_s) < NEAR_S


def is_server_off(server: RedisServer, offset_s: int) -> bool:
    """Whether a server, and what a script asks it, takes now for what is so far ahead of it."""
    with server.client() as client:
        told = [int(client.time()[0]), int(client.eval("return redis.call('TIME')[1]", 0))]
    return all(abs(second - time() - offset_s) < NEAR_S for second in told)
