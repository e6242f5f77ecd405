"""Asks how soon an idle worker starts on a job, in one process and over HTTP, one job at a time.

Over HTTP the time runs from before the request is written, here, to the first line of the handler, in the server: both
read the machine's monotonic clock. The reference is the whole round trip to the bare responder, as nothing can be
started by a request before it has arrived; in one process it is an asyncio task that waits at a queue.
"""

import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.apps import STARTS_FILE
from benchmarks.harness import Options, ServerSpec, serving
from benchmarks.processes import HOST
from benchmarks.questions.http_ingestion import BARE
from benchmarks.report import Goal, Row
from benchmarks.tools import ToolError
from benchmarks.turns import Figures, Turns, workload
from benchmarks.workloads.wake import PAUSE_S, WARM_UP, percentiles_ms

QUESTION = "latency, memory: from enqueue to the start of the handler, idle workers"

SAMPLES = 500
QUICK_SAMPLES = 100
ANSWER_WAIT_S = 5.0
START_WAIT_S = 5.0
READ_BYTES = 65_536  # more than any answer here
ARGV = (sys.executable, "-m", "gotaskq", "run", "benchmarks.apps:stamped", "--port", "{port}", "--workers", "10")
SOON = Goal(bound=0.3, of="ours", sense="at most")
SELDOM_LATE = Goal(bound=5.0, of="ours", sense="at most")
PAIRS = (("in-process", "task at a queue"), ("HTTP", "bare, round trip"))


def measure(options: Options) -> list[Row]:
    """Measure both ways and their references in turns."""
    samples = QUICK_SAMPLES if options.is_quick else SAMPLES
    with tempfile.TemporaryDirectory() as folder, ExitStack() as started:
        starts = Path(folder) / "starts"
        starts.touch()
        env = {"LOG_LEVEL": "warning", STARTS_FILE: str(starts)}
        ours = started.enter_context(serving(ServerSpec(name="stamped", argv=ARGV, env=env)))
        bare = started.enter_context(serving(BARE))
        turns = Turns(
            options,
            {
                "in-process": workload("wake", "worker", samples=samples),
                "task at a queue": workload("wake", "task", samples=samples),
                "HTTP": partial(_until_started, ours.port, starts, samples=samples),
                "bare, round trip": partial(_round_trips, bare.port, samples=samples),
            },
        )
    return [row for ours_name, against in PAIRS for row in _rows(turns, ours_name, against)]


def _rows(turns: Turns, ours: str, against: str) -> list[Row]:
    return [
        turns.row(f"enqueue to start, {ours}, p50", ours=ours, figure="p50_ms", unit="ms", against=against, goal=SOON),
        turns.row(
            f"enqueue to start, {ours}, p99", ours=ours, figure="p99_ms", unit="ms", against=against, goal=SELDOM_LATE
        ),
    ]


def _until_started(port: int, starts: Path, *, samples: int) -> Figures:
    """Post jobs one at a time; the handler of each appends its start to the file before the next is posted."""
    known = len(starts.read_bytes().split())
    sent_ns = []
    with _connected(port) as connection:
        for number in range(1, samples + WARM_UP + 1):
            time.sleep(PAUSE_S)
            sent_ns.append(_post(connection))
            _wait_for_lines(starts, known + number)
    started_ns = [int(line) for line in starts.read_bytes().split()[known:]]
    return percentiles_ms([start - sent for sent, start in zip(sent_ns, started_ns, strict=True)])


def _wait_for_lines(starts: Path, count: int) -> None:
    deadline = time.monotonic() + START_WAIT_S
    while len(starts.read_bytes().split()) < count:
        if time.monotonic() > deadline:
            raise ToolError(f"no handler started within {START_WAIT_S:g} s of its job's request")
        time.sleep(PAUSE_S)


def _round_trips(port: int, *, samples: int) -> Figures:
    """Post to the bare responder one at a time, and read its answers."""
    waits_ns = []
    with _connected(port) as connection:
        for _ in range(samples + WARM_UP):
            time.sleep(PAUSE_S)
            sent_ns = _post(connection)
            waits_ns.append(time.monotonic_ns() - sent_ns)
    return percentiles_ms(waits_ns)


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, port), timeout=ANSWER_WAIT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def _post(connection: socket.socket) -> int:
    """Send a job, read the answer (small: it comes in one piece), and return when we began."""
    sent_ns = time.monotonic_ns()
    connection.sendall(WIRE)
    answer = connection.recv(READ_BYTES)
    if not answer.startswith(b"HTTP/1.1 201 "):
        raise ToolError(f"a job was not accepted: {answer[:200]!r}")
    return sent_ns


def _wire(body: bytes) -> bytes:
    head = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


WIRE = _wire(BARE.body.encode())
