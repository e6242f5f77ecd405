"""Asks what is left of HTTP ingestion while two thousand clients watch and nothing happens that concerns them.

Each client holds a stream of the events of one queue that gets no job; the load goes to the queue `default`.
"""

import contextlib
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from benchmarks.harness import Options, ServerSpec, drive_at, serving, telling_tool
from benchmarks.questions.http_ingestion import OURS
from benchmarks.report import Goal, Row
from benchmarks.turns import Figures, Turns

QUESTION = "HTTP ingestion, memory, beside 2,000 idle streams of events"

CLIENTS = 2_000
ALONE = replace(OURS, name="no stream")
BESIDE = replace(OURS, name="2,000 idle streams")
IS_LEFT = Goal(bound=0.8)
ASK = b"GET /events?queue=nobody HTTP/1.1\r\nhost: localhost\r\n\r\n"
BEGIN = b"retry: 2000\n\n"
ANSWER_WAIT_S = 30.0


def measure(options: Options) -> list[Row]:
    """Measure the server without and with the streams, in turns."""
    tool = telling_tool()
    turns = Turns(options, {spec.name: partial(_load, tool, options, spec) for spec in (ALONE, BESIDE)})
    row = partial(turns.row, ours=BESIDE.name, against=ALONE.name)
    return [
        row(f"POST /jobs, {tool}", figure="answers_per_s", unit="req/s", goal=IS_LEFT),
        row(f"POST /jobs, {tool}, p99", figure="p99_ms", unit="ms"),
    ]


def _load(tool: str, options: Options, spec: ServerSpec) -> Figures:
    with serving(spec) as server, _watching(server.url, CLIENTS if spec is BESIDE else 0):
        drive_at("loadgen", spec, server.url, options, duration_s=options.warmup_s)
        result = drive_at(tool, spec, server.url, options, duration_s=options.duration_s)
    return {"answers_per_s": result.requests_per_s, "p99_ms": result.p99_ms}


@contextlib.contextmanager
def _watching(url: str, clients: int) -> Iterator[None]:
    """Hold so many streams; raises where one does not begin, or has ended by the end of the body."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * CLIENTS)), hard))
    where = urlsplit(url)
    with contextlib.ExitStack() as stack:
        streams = []
        for _ in range(clients):
            stream = stack.enter_context(socket.create_connection((where.hostname, where.port), ANSWER_WAIT_S))
            stream.sendall(ASK)
            streams.append(stream)
        for stream in streams:
            head = b""
            while BEGIN not in head:
                piece = stream.recv(4_096)
                if not piece:
                    raise ConnectionError(f"a stream did not begin: {head!r}")
                head += piece
        yield
        for stream in streams:
            stream.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while piece := stream.recv(4_096):
                    pass
                raise ConnectionError("a stream has ended meanwhile")
