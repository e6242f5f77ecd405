"""Asks how much memory a waiting job takes beyond its payload, in one process and in the server.

The figure is the growth of the resident set, measured from outside the language: it holds what the allocator wastes.
The reference is a list of plain dicts with the same members.
"""

import sys
from functools import partial

from benchmarks.harness import Options, ServerSpec, serving
from benchmarks.loadgen import run_load
from benchmarks.questions.http_ingestion import ENV
from benchmarks.report import Goal, Row
from benchmarks.tools import JSON, ToolError
from benchmarks.turns import Figures, Turns, workload
from benchmarks.workloads.memory import PAYLOAD_BYTES, WARM_UP, rss_bytes

QUESTION = "memory: resident bytes per pending job, beyond its payload"

JOBS = 300_000
QUICK_JOBS = 50_000
ARGV = (sys.executable, "-m", "gotaskq", "run", "--port", "{port}", "--no-workers")
SERVER = ServerSpec(name="server", argv=ARGV, env=ENV)
SMALL = Goal(bound=500, of="ours", sense="at most")
DICTS = "list of dicts"


def measure(options: Options) -> list[Row]:
    """Measure the process, the server and the dicts in turns."""
    jobs = QUICK_JOBS if options.is_quick else JOBS
    turns = Turns(
        options,
        {
            "in-process": workload("memory", "waiting_jobs", jobs=jobs),
            DICTS: workload("memory", "dicts", jobs=jobs),
            "server": partial(_server, jobs=jobs),
        },
    )
    return [
        turns.row(
            f"{jobs:,} pending jobs, {ours}", ours=ours, figure="bytes_per_job", unit="B", against=DICTS, goal=SMALL
        )
        for ours in ("in-process", "server")
    ]


def _server(*, jobs: int) -> Figures:
    with serving(SERVER) as server:
        _post(server.url, WARM_UP)
        before = rss_bytes(server.pid)
        _post(server.url, jobs)
        return {"bytes_per_job": (rss_bytes(server.pid) - before) / jobs - PAYLOAD_BYTES}


def _post(base_url: str, jobs: int) -> None:
    body = SERVER.body.encode()
    report = run_load(
        base_url + SERVER.path, requests=jobs, concurrency=100, method="POST", body=body, content_type=JSON
    )
    if report.status_counts != {201: jobs}:
        raise ToolError(f"of {jobs} jobs not all were accepted: {report.status_counts} {report.errors}")
