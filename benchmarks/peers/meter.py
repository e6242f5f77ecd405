"""What the handlers of every library do: count themselves, or note how long their job has waited.

Runs in the libraries' own environments, so it needs nothing but the standard library.
Invariant: a handler touches the disk only when its job is timed alone, or when the last one of a drain has run.
"""

import itertools
import json
import os
import time
from functools import cache
from pathlib import Path

JOBS = "PEER_JOBS"  # the variable that says how many jobs wait to be drained
REPORT = "PEER_REPORT"  # the variable that names the file the figures go to
EDGE_PERCENT = 10  # of the jobs, at each end: there a worker starts up, or has fetched what it has not settled


class Meter:
    """Times the jobs between the first and the last few."""

    def __init__(self, jobs: int, report: Path) -> None:
        edge = jobs * EDGE_PERCENT // 100
        self._numbers = itertools.count(1)  # one step of it cannot be torn apart by threads
        self._first, self._last = edge, jobs - edge
        self._started_s = 0.0
        self._report = report

    def count(self) -> None:
        """Count a handler's start; the last one that counts writes the rate."""
        number = next(self._numbers)
        if number == self._first:
            self._started_s = time.perf_counter()
        elif number == self._last:
            rate = (self._last - self._first) / (time.perf_counter() - self._started_s)
            written = self._report.with_suffix(".part")
            written.write_text(json.dumps({"jobs_per_s": rate}))
            written.rename(self._report)  # so that a reader sees all of it or nothing


@cache
def _meter() -> Meter:
    return Meter(int(os.environ[JOBS]), Path(os.environ[REPORT]))


@cache
def _waits() -> int:
    return os.open(os.environ[REPORT], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def count(msg: str) -> None:
    """Do nothing but be counted; the handler of most jobs."""
    _meter().count()


def stamp(sent_ns: int) -> None:
    """Write down how long ago the job was sent; the clock is one for all processes of a machine."""
    waited_ns = time.monotonic_ns() - sent_ns
    os.write(_waits(), b"%d\n" % waited_ns)


async def count_on_loop(msg: str) -> None:
    """Do as `count`, for libraries whose handlers are coroutines."""
    _meter().count()


async def stamp_on_loop(sent_ns: int) -> None:
    """Do as `stamp`, for libraries whose handlers are coroutines."""
    stamp(sent_ns)
