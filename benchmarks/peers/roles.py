"""The roles a library's program plays: it enqueues in one of three ways, works, or enqueues one job at a time.

Each module in `libraries/` ends with `play_async` or `play`. Runs in the libraries' own environments, so it needs
nothing but the standard library (and uvloop, for libraries on asyncio).
Invariant: every library is given the same jobs in the same way; a figure is printed only when all calls came back.
"""

import argparse
import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

from benchmarks.peers.meter import REPORT

CALLERS = 100  # coroutines that each await one enqueue after the other
THREADS = 8  # the same, for libraries that block
BULK = 1_000  # jobs a call
PAUSE_S = (0.002, 0.012)  # between two timed jobs; uneven, so as not to keep step with a library that polls
LOOK_EVERY_S = 0.001
WAIT_S = 20.0  # for one handler to start
COUNTED = ("count", {"msg": "hello"})

Arguments = Mapping[str, object]


class AsyncLibrary(Protocol):
    """A library on asyncio; its worker runs until it is cancelled or the process ends."""

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    async def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""

    async def work(self) -> None:
        """Run jobs."""


@runtime_checkable
class AsyncBulk(Protocol):
    """What a library on asyncio has besides, when one call can store many jobs."""

    async def enqueue_bulk(self, task: str, arguments: Arguments, jobs: int) -> None:
        """Store that many jobs in one call."""


class Library(Protocol):
    """A library that blocks."""

    def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""

    def work(self) -> None:
        """Run jobs."""


@runtime_checkable
class Bulk(Protocol):
    """What a library that blocks has besides, when one call can store many jobs."""

    def enqueue_bulk(self, task: str, arguments: Arguments, jobs: int) -> None:
        """Store that many jobs in one call."""


class NoBulkCallError(Exception):
    """The library has no call that stores many jobs, so the table of peers should not ask for it."""


def play_async(make: Callable[[str, int], AsyncLibrary]) -> None:
    """Play the role of the command line with a library on asyncio, on uvloop."""
    import uvloop

    role, url, jobs, slots = _parse()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_play_async(make(url, slots), role, jobs))


async def _play_async(library: AsyncLibrary, role: str, jobs: int) -> None:
    if role == "work":
        await library.work()
        return
    await library.open()
    try:
        await library.enqueue(*COUNTED)  # connects, loads scripts; it is drained with the others
        started_s = time.perf_counter()
        await _ASYNC_ROLES[role](library, jobs)
        _print_rate(jobs, time.perf_counter() - started_s)
    finally:
        await library.close()


async def _one_by_one(library: AsyncLibrary, jobs: int) -> None:
    for _ in range(jobs):
        await library.enqueue(*COUNTED)


async def _many_at_once(library: AsyncLibrary, jobs: int) -> None:
    left = iter(range(jobs))

    async def call() -> None:
        for _ in left:
            await library.enqueue(*COUNTED)

    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(call())


async def _in_bulk(library: AsyncLibrary, jobs: int) -> None:
    if not isinstance(library, AsyncBulk):
        raise NoBulkCallError(f"{type(library).__name__} has no enqueue_bulk")
    for size in _sizes(jobs):
        await library.enqueue_bulk(*COUNTED, size)


async def _timed(library: AsyncLibrary, jobs: int) -> None:
    for number in range(1, jobs + 1):
        await asyncio.sleep(random.uniform(*PAUSE_S))
        await library.enqueue("stamp", {"sent_ns": time.monotonic_ns()})
        for pause_s in _until_stamped(number):
            await asyncio.sleep(pause_s)


_ASYNC_ROLES = {"one": _one_by_one, "many": _many_at_once, "bulk": _in_bulk, "timed": _timed}


def play(make: Callable[[str, int], Library]) -> None:
    """Play the role of the command line with a library that blocks."""
    role, url, jobs, slots = _parse()
    library = make(url, slots)
    if role == "work":
        library.work()
        return
    library.enqueue(*COUNTED)
    started_s = time.perf_counter()
    _ROLES[role](library, jobs)
    _print_rate(jobs, time.perf_counter() - started_s)


def _one_by_one_blocking(library: Library, jobs: int) -> None:
    for _ in range(jobs):
        library.enqueue(*COUNTED)


def _many_at_once_blocking(library: Library, jobs: int) -> None:
    def call(share: range) -> None:
        for _ in share:
            library.enqueue(*COUNTED)

    with ThreadPoolExecutor(THREADS) as callers:
        for called in [callers.submit(call, range(first, jobs, THREADS)) for first in range(THREADS)]:
            called.result()


def _in_bulk_blocking(library: Library, jobs: int) -> None:
    if not isinstance(library, Bulk):
        raise NoBulkCallError(f"{type(library).__name__} has no enqueue_bulk")
    for size in _sizes(jobs):
        library.enqueue_bulk(*COUNTED, size)


def _timed_blocking(library: Library, jobs: int) -> None:
    for number in range(1, jobs + 1):
        time.sleep(random.uniform(*PAUSE_S))
        library.enqueue("stamp", {"sent_ns": time.monotonic_ns()})
        for pause_s in _until_stamped(number):
            time.sleep(pause_s)


_ROLES = {"one": _one_by_one_blocking, "many": _many_at_once_blocking, "bulk": _in_bulk_blocking}
_ROLES["timed"] = _timed_blocking


def _parse() -> tuple[str, str, int, int]:
    parser = argparse.ArgumentParser(description="One role of one library, in a process of its own.")
    parser.add_argument("role", choices=["work", *_ROLES])
    parser.add_argument("url", help="of the Redis database")
    parser.add_argument("jobs", type=int, help="how many to enqueue; a worker runs what it finds")
    parser.add_argument("slots", type=int, help="how many jobs a worker runs at once")
    arguments = parser.parse_args()
    return arguments.role, arguments.url, arguments.jobs, arguments.slots


def _sizes(jobs: int) -> Iterator[int]:
    for first in range(0, jobs, BULK):
        yield min(BULK, jobs - first)


def _until_stamped(number: int) -> Iterator[float]:
    """Yield pauses until the handler of that many jobs has started."""
    report = Path(os.environ[REPORT])
    deadline_s = time.monotonic() + WAIT_S
    while not report.exists() or report.read_bytes().count(b"\n") < number:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the handler of job {number} did not start within {WAIT_S:g} s")
        yield LOOK_EVERY_S


def _print_rate(jobs: int, seconds: float) -> None:
    print(json.dumps({"jobs_per_s": jobs / seconds}))
