"""Asks what types cost: HTTP ingestion of a task beside that of a type nobody knows, and each step of a typed enqueue.

The two servers are driven in turns of a second, as they differ by a few percent. The steps are taken in one process, in
turns, by CPU time. The reference of writing a payload is the same by `inspect.Signature.bind`, that of checking one is
decoding it without a type.
"""

from dataclasses import replace

from benchmarks.harness import Options
from benchmarks.pairs import measure_pairs
from benchmarks.questions.http_ingestion import ARGV, ENV, OURS
from benchmarks.report import Goal, Row
from benchmarks.turns import Turns, workload

QUESTION = "typed jobs: POST /jobs of a known type, and the steps of a typed enqueue"

CALLS = 200_000
QUICK_CALLS = 20_000
TYPED = replace(OURS, name="POST /jobs, typed", argv=(*ARGV, "benchmarks.apps:typed"), env=ENV)
UNTYPED = replace(OURS, name="POST /jobs, untyped", argv=(*ARGV, "benchmarks.apps:app"), env=ENV)
OF_UNTYPED = Goal(bound=0.9)
CPU_OF_UNTYPED = Goal(bound=1.11, sense="at most")  # 1 / 0.9


def measure(options: Options) -> list[Row]:
    """Measure both servers in turns, then the steps."""
    pairs = measure_pairs(TYPED, UNTYPED, options)
    turns = Turns(options, {"typed": workload("typed", "steps", calls=QUICK_CALLS if options.is_quick else CALLS)})
    return [
        pairs.rate(TYPED.name, against="untyped", goal=OF_UNTYPED),
        *pairs.cpu(TYPED.name, against="untyped", goal=CPU_OF_UNTYPED),
        _step(turns, "write a payload, keywords only", "write_keywords_us", "bind_us"),
        _step(turns, "write a payload, by position", "write_positional_us", "bind_us"),
        _step(turns, "check a payload", "check_us", "decode_us"),
        _step(turns, "await task.enqueue(...)", "enqueue_typed_us", "enqueue_untyped_us"),
    ]


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
