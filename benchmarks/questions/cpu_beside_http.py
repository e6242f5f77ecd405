"""Asks what is left of HTTP ingestion while two child processes compute without a pause.

The workers serve the queue `busy` alone, whose jobs compute in two children; the load goes to the queue `default`, and
is only taken in. On two cores, the generator, the server and the children are four who want to run.
"""

import sys
from dataclasses import replace
from functools import partial
from urllib.request import Request, urlopen

from benchmarks.harness import Options, ServerSpec, drive_at, serving, telling_tool
from benchmarks.report import Goal, Row
from benchmarks.turns import Figures, Turns

QUESTION = "HTTP ingestion, memory, beside CPU-bound handlers in two child processes"

APP = (sys.executable, "-m", "gotaskq", "run", "benchmarks.apps:busy", "--port", "{port}", "--workers", "2")
ENV = {"LOG_LEVEL": "warning", "MAX_QUEUE_DEPTH": "100000000", "QUEUES": "busy", "SHUTDOWN_TIMEOUT": "0s"}
ALONE = ServerSpec(name="children idle", argv=APP, env=ENV)
BESIDE = replace(ALONE, name="children computing")
BURNING = b'{"jobs":[{"type":"burn","queue":"busy"},{"type":"burn","queue":"busy"}]}'
IS_LEFT = Goal(bound=0.6)
ANSWER_WAIT_S = 30.0


def measure(options: Options) -> list[Row]:
    """Measure the server with its children idle and computing, in turns."""
    tool = telling_tool()
    turns = Turns(options, {spec.name: partial(_load, tool, options, spec) for spec in (ALONE, BESIDE)})
    row = partial(turns.row, ours=BESIDE.name, against=ALONE.name)
    return [
        row(f"POST /jobs, {tool}", figure="answers_per_s", unit="req/s", goal=IS_LEFT),
        row(f"POST /jobs, {tool}, p99", figure="p99_ms", unit="ms"),
    ]


def _load(tool: str, options: Options, spec: ServerSpec) -> Figures:
    with serving(spec) as server:
        if spec is BESIDE:
            request = Request(f"{server.url}/jobs/batch", BURNING, {"content-type": "application/json"})
            with urlopen(request, timeout=ANSWER_WAIT_S) as answer:
                answer.read()
        drive_at("loadgen", spec, server.url, options, duration_s=options.warmup_s)
        result = drive_at(tool, spec, server.url, options, duration_s=options.duration_s)
    return {"answers_per_s": result.requests_per_s, "p99_ms": result.p99_ms}
