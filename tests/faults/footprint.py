"""What the processes of a fault test hold, and I10: at rest after the faults they hold no more than at rest before.

Descriptors, threads and memory are read from /proc, connections from the servers, and a process writes down how many
tasks it has when it is asked. One that took another's place is compared with others of its kind.
"""

import asyncio
import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Final

from tests.faults.handlers import task_counts
from tests.integration.server_process import ServerProcess, eventually
from tests.redis_servers import RedisServer

SAME_READS: Final = 5  # in a row, before a process counts as at rest
READ_EVERY_S: Final = 0.05
OUR_THREADS: Final = "gotaskq-"


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one process holds."""

    descriptors: int
    threads: int
    tasks: int
    memory_kb: int

    @property
    def counts(self) -> tuple[int, int, int]:
        """All but the memory, which never stands still."""
        return (self.descriptors, self.threads, self.tasks)


# Counts come back exactly. Memory does not: the allocator keeps what was freed, and a first fault runs code that whole
# runs never need. In these tests a process grows by 0.4 MB at most; this is ten times that, for other machines. A leak
# too small to show here needs a soak.
SLACK: Final = Footprint(descriptors=0, threads=0, tasks=0, memory_kb=4_096)


def excess(now: Footprint, at_rest: Footprint, slack: Footprint = SLACK) -> Iterator[str]:
    """Give a line for each thing that there is more of than at rest, beyond the slack."""
    rows = zip(fields(Footprint), astuple(now), astuple(at_rest), astuple(slack), strict=True)
    for field, is_now, was, slack in rows:
        if is_now > was + slack:
            yield f"I10: {is_now} {field.name}, at rest {was}"


def read(process: ServerProcess, log: Path) -> Footprint:
    """Return what a process holds now; `log` is where its handlers write."""
    folder = Path(f"/proc/{process.pid}")
    descriptors, threads = (len(list((folder / name).iterdir())) for name in ("fd", "task"))
    return Footprint(descriptors, threads, _count_tasks(process, log), memory_kb(process))


def memory_kb(process: ServerProcess) -> int:
    """Return how much of a process is in memory now."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    status = dict(line.split(":", 1) for line in text.splitlines())
    return int(status["VmRSS"].split()[0])


def _count_tasks(process: ServerProcess, log: Path) -> int:
    path = task_counts(log, process.pid)

    def counts() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    asked = len(counts())
    process.signal(signal.SIGUSR2)
    eventually(lambda: len(counts()) > asked)
    return int(counts()[-1])


def clients_of(servers: Sequence[RedisServer]) -> int:
    """Return how many connections the servers have, the one that asks among them."""
    count = 0
    for server in servers:
        with server.client() as client:
            count += len(client.client_list())
    return count


@contextlib.asynccontextmanager
async def returning_what_it_took(masters: Sequence[RedisServer], *, within_s: float) -> AsyncIterator[None]:
    """I10 of what runs inside the test: raise AssertionError if it holds more after the body than before."""
    before = _inside(masters)
    yield
    deadline_s = time.monotonic() + within_s
    while more := [name for name, count in _inside(masters).items() if count > before[name]]:
        assert time.monotonic() < deadline_s, f"I10: more {more} when closed than before it was opened: {before}"
        await asyncio.sleep(READ_EVERY_S)


def _inside(masters: Sequence[RedisServer]) -> dict[str, int]:
    """Count what this process holds. Not its descriptors: the test's own proxy and clients have theirs."""
    threads = sum(thread.name.startswith(OUR_THREADS) for thread in threading.enumerate())
    return {"tasks": len(asyncio.all_tasks()), "threads": threads, "connections": clients_of(masters)}


class Fleet:
    """The processes of a world by their kind, which is how they were started, and what each kind held at rest."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._kinds: dict[ServerProcess, str] = {}
        self._at_rest: dict[str, Footprint] = {}
        self._size: Counter[str] = Counter()
        self._clients = 0

    def add(self, process: ServerProcess, *, kind: str) -> None:
        """Take a process in."""
        self._kinds[process] = kind

    def rest(self, masters: Sequence[RedisServer]) -> None:
        """Note what each process holds once its counts stand still."""
        for process, kind in self._running():
            found = self._at_rest_now(process)
            known = self._at_rest.get(kind, found)
            self._at_rest[kind] = Footprint(*map(max, astuple(found), astuple(known)))
        self._size = Counter(kind for _, kind in self._running())
        self._clients = clients_of(masters)

    def check(self, masters: Sequence[RedisServer], *, within_s: float) -> None:
        """Raise AssertionError unless all is back, in a while; does nothing where the rest was never noted."""
        if not self._at_rest:
            return
        more = Counter(kind for _, kind in self._running()) - self._size
        assert not more, f"I10: there are more processes than at rest, and nothing to hold them to: {dict(more)}"
        deadline_s, pause = time.monotonic() + within_s, threading.Event()
        while left := list(self._excess(masters)):
            assert time.monotonic() < deadline_s, "\n".join(left)
            pause.wait(READ_EVERY_S)

    def _running(self) -> list[tuple[ServerProcess, str]]:
        return [(process, kind) for process, kind in self._kinds.items() if process.is_running]

    def _at_rest_now(self, process: ServerProcess) -> Footprint:
        pause, reads = threading.Event(), [read(process, self._log)]

        def is_at_rest() -> bool:
            pause.wait(READ_EVERY_S)
            reads.append(read(process, self._log))
            return len({footprint.counts for footprint in reads[-SAME_READS:]}) == 1 and len(reads) >= SAME_READS

        eventually(is_at_rest)
        return reads[-1]

    def _excess(self, masters: Sequence[RedisServer]) -> Iterator[str]:
        # A worker's lease thread connects to a master of a Cluster once it holds a job there; where it held one before
        # the fault is chance.
        others = len(masters) - 1
        slack = replace(SLACK, descriptors=SLACK.descriptors + others)
        running = self._running()
        for process, kind in running:
            for line in excess(read(process, self._log), self._at_rest[kind], slack):
                yield f"{line} (process {process.pid}: {kind})"
        clients = clients_of(masters)
        if clients > self._clients + others * len(running):
            yield f"I10: {clients} connections to the store, at rest {self._clients}"
