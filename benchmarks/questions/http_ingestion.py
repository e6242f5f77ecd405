"""Asks how many jobs a second HTTP takes in, on the memory backend, beside servers that only speak HTTP.

No workers run: the figure is decode, admit, keep, encode, answer. The goals hold for the most telling tool present
(wrk, else our own generator), because hey is the limit itself before the server is.
"""

import sys

from benchmarks.harness import Comparison, Options, ServerSpec, compare
from benchmarks.report import Goal, Row

QUESTION = "HTTP ingestion, memory: POST /jobs and POST /{queue}/jobs"

ENV = {"LOG_LEVEL": "warning", "MAX_QUEUE_DEPTH": "100000000"}
ARGV = (sys.executable, "-m", "gotaskq", "run", "--port", "{port}", "--no-workers")


def _reference(name: str, module: str) -> ServerSpec:
    argv = (sys.executable, "-m", f"benchmarks.references.{module}", "--port", "{port}")
    return ServerSpec(name=name, argv=argv)


OURS = ServerSpec(name="POST /jobs", argv=ARGV, env=ENV)
OURS_BY_QUEUE = ServerSpec(name="POST /{queue}/jobs", argv=ARGV, env=ENV, path="/default/jobs")
OURS_ASGI = ServerSpec(name="POST /jobs, ASGI lane", argv=ARGV, env={**ENV, "GOTASKQ_FAST_LANE": "false"})
BARE = _reference("bare", "bare")
STARLETTE = _reference("starlette", "starlette_route")
EMPTY = _reference("empty ASGI", "empty_asgi")

# Ours next to the reference it is held against, so that slow drift of the machine touches both.
TURNS = (OURS, BARE, OURS_BY_QUEUE, STARLETTE, OURS_ASGI, EMPTY)
OF_BARE = Goal(bound=0.75)
OF_STARLETTE = Goal(bound=3.0)
PAIRS = (
    (OURS, BARE, OF_BARE),
    (OURS, STARLETTE, OF_STARLETTE),
    (OURS, EMPTY, None),
    (OURS_BY_QUEUE, BARE, OF_BARE),
    (OURS_BY_QUEUE, STARLETTE, OF_STARLETTE),
    (OURS_ASGI, STARLETTE, None),
    (OURS_ASGI, EMPTY, None),
)
LIMITED_BY_TOOL = "this load generator costs about as much as the server, so ratios come out nearer to 1 than with wrk"


def measure(options: Options) -> list[Row]:
    """Measure our two lanes and the three references in turns."""
    comparison = compare(TURNS, options)
    rows = []
    for tool in comparison.tools:
        goals_count = tool == _telling_tool(comparison)
        for ours, reference, goal in PAIRS:
            rows.append(_rate(comparison, tool, ours, reference, goal if goals_count else None))
        rows.append(_slowest(comparison, tool, OURS, BARE))
    return rows


def _telling_tool(comparison: Comparison) -> str:
    return "wrk" if "wrk" in comparison.tools else "loadgen"


def _rate(comparison: Comparison, tool: str, ours: ServerSpec, reference: ServerSpec, goal: Goal | None) -> Row:
    us, them = comparison.of(ours, tool), comparison.of(reference, tool)
    return Row(
        question=f"{ours.name}, {tool}",
        ours=us.requests_per_s,
        unit="req/s",
        reference=them.requests_per_s,
        against=reference.name,
        goal=goal,
        note=LIMITED_BY_TOOL if tool != "wrk" else "",
        ours_runs=tuple(run.requests_per_s for run in us.runs),
        reference_runs=tuple(run.requests_per_s for run in them.runs),
    )


def _slowest(comparison: Comparison, tool: str, ours: ServerSpec, reference: ServerSpec) -> Row:
    us, them = comparison.of(ours, tool), comparison.of(reference, tool)
    return Row(
        question=f"{ours.name}, {tool}, p99",
        ours=us.p99_ms,
        unit="ms",
        reference=them.p99_ms,
        against=reference.name,
        ours_runs=tuple(run.p99_ms for run in us.runs),
        reference_runs=tuple(run.p99_ms for run in them.runs),
    )
