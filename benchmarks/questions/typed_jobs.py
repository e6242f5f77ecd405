"""Asks what types cost: HTTP ingestion of a task beside that of a type nobody knows, and each step of a typed enqueue.

The steps are taken in one process, in turns, by CPU time. The reference of writing a payload is the same by
`inspect.Signature.bind`, that of checking one is decoding it without a type.
"""

from dataclasses import replace

from benchmarks.harness import Comparison, Options, compare
from benchmarks.questions.http_ingestion import ARGV, ENV, OURS
from benchmarks.report import Goal, Row
from benchmarks.turns import Turns, workload

QUESTION = "typed jobs: POST /jobs of a known type, and the steps of a typed enqueue"

CALLS = 200_000
QUICK_CALLS = 20_000
TYPED = replace(OURS, name="POST /jobs, typed", argv=(*ARGV, "benchmarks.apps:typed"), env=ENV)
UNTYPED = replace(OURS, name="POST /jobs, untyped", argv=(*ARGV, "benchmarks.apps:app"), env=ENV)
OF_UNTYPED = Goal(bound=0.9)


def measure(options: Options) -> list[Row]:
    """Measure both servers in turns, then the steps."""
    comparison = compare((TYPED, UNTYPED), options)
    turns = Turns(options, {"typed": workload("typed", "steps", calls=QUICK_CALLS if options.is_quick else CALLS)})
    return [
        *(_rate(comparison, tool) for tool in comparison.tools),
        _step(turns, "write a payload, keywords only", "write_keywords_us", "bind_us"),
        _step(turns, "write a payload, by position", "write_positional_us", "bind_us"),
        _step(turns, "check a payload", "check_us", "decode_us"),
        _step(turns, "await task.enqueue(...)", "enqueue_typed_us", "enqueue_untyped_us"),
    ]


def _rate(comparison: Comparison, tool: str) -> Row:
    typed, untyped = comparison.of(TYPED, tool), comparison.of(UNTYPED, tool)
    return Row(
        question=f"{TYPED.name}, {tool}",
        ours=typed.requests_per_s,
        unit="req/s",
        reference=untyped.requests_per_s,
        against="untyped",
        goal=OF_UNTYPED,
        ours_runs=tuple(run.requests_per_s for run in typed.runs),
        reference_runs=tuple(run.requests_per_s for run in untyped.runs),
    )


def _step(turns: Turns, question: str, ours: str, reference: str) -> Row:
    return turns.row(
        question,
        ours="typed",
        figure=ours,
        unit="µs",
        against="typed",
        reference_figure=reference,
        reference_name=reference.removesuffix("_us"),
    )
