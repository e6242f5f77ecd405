"""Asks how many jobs a second go from HTTP to DONE, beside a server that only answers.

Ten workers run a handler that does nothing, in the server's one process. The figure is what the server's metrics say is
done, from the first job to the moment nothing is left: taking in faster than working off does not help it.
"""

from functools import partial

from benchmarks.flow import WORKING, measure_flow
from benchmarks.harness import Options, ServerSpec, answers, drive_at, serving, telling_tool
from benchmarks.questions.http_ingestion import BARE
from benchmarks.report import Goal, Row
from benchmarks.turns import Figures, Turns

QUESTION = "end to end, memory: HTTP to DONE, no-op handler, 10 workers"

OURS = "ours"
ENOUGH = Goal(bound=0.6)


def measure(options: Options) -> list[Row]:
    """Measure our server and the bare responder in turns."""
    tool = telling_tool()
    turns = Turns(options, {OURS: partial(flow, tool, options), BARE.name: partial(answers, tool, options, BARE)})
    row = partial(turns.row, ours=OURS, against=BARE.name)
    rate = partial(row, reference_figure="answers_per_s")
    return [
        rate(f"HTTP to DONE, {tool}, until drained", figure="drained", unit="jobs/s", goal=ENOUGH),
        rate(f"HTTP to DONE, {tool}, under load", figure="loaded", unit="jobs/s"),
        rate(f"HTTP with workers, {tool}", figure="answers_per_s", unit="req/s"),
        row(f"HTTP with workers, {tool}, p99", figure="p99_ms", unit="ms"),
    ]


def flow(tool: str, options: Options, spec: ServerSpec = WORKING) -> Figures:
    """Start a server with workers, load it, and follow the jobs until they are done."""
    with serving(spec) as server:
        drive_at("loadgen", spec, server.url, options, duration_s=options.warmup_s)
        seen = measure_flow(server, tool, options, duration_s=options.duration_s)
    return {
        "drained": seen.drained_per_s,
        "loaded": seen.loaded_per_s,
        "answers_per_s": seen.result.requests_per_s,
        "p99_ms": seen.result.p99_ms,
    }
