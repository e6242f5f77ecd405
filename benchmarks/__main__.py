"""The command `python -m benchmarks`: measures the questions, prints one table, keeps the figures as JSON.

A question is a module in benchmarks/questions with `QUESTION: str` and `measure(options: Options) -> list[Row]`.
One with `ON_REQUEST = True` is measured only when it is named.
Invariant: a question that cannot be measured is reported and does not stop the others; no figure fails the command.
"""

import argparse
import importlib
import pkgutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol, cast

from benchmarks import questions
from benchmarks.harness import Options
from benchmarks.processes import ServerError
from benchmarks.redis_server import VALKEY
from benchmarks.report import RESULTS, Row, format_table, save_results
from benchmarks.tools import ToolError

QUICK = Options(duration_s=1.0, warmup_s=0.5, is_quick=True)


class Question(Protocol):
    """What a module in benchmarks/questions offers."""

    QUESTION: str

    def measure(self, options: Options) -> list[Row]:
        """Measure ours and the references in one run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 if every question was measured, 1 if not, 2 for a name that is none."""
    known = discover()
    arguments = _parse(argv)
    unknown = [name for name in arguments.questions if name not in known]
    if unknown:
        print(f"benchmarks: no question {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    if arguments.list:
        print("\n".join(f"{name}\t{question.QUESTION}" for name, question in known.items()))
        return 0
    # Leave by an exception, so that servers are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = {name: known[name] for name in arguments.questions or _usual(known)}
    thoroughness = QUICK if arguments.quick else Options()
    options = replace(thoroughness, runs=arguments.runs, seconds=arguments.seconds, redis=arguments.redis)
    measured = _measure(wanted, options)
    if measured:
        print(format_table([row for rows in measured.values() for row in rows]))
        path = save_results(measured, options=asdict(options), label=arguments.label, folder=arguments.results)
        print(f"\nwritten to {path}", file=sys.stderr)
    return 0 if len(measured) == len(wanted) else 1


def discover() -> dict[str, Question]:
    """Import every question module, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(questions.__path__))
    return {name: cast("Question", importlib.import_module(f"{questions.__name__}.{name}")) for name in names}


def _usual(known: dict[str, Question]) -> list[str]:
    return [name for name, question in known.items() if not getattr(question, "ON_REQUEST", False)]


def _measure(wanted: dict[str, Question], options: Options) -> dict[str, list[Row]]:
    measured = {}
    for name, question in wanted.items():
        print(f"{name}: {question.QUESTION}", file=sys.stderr)
        try:
            measured[name] = question.measure(options)
        except (ServerError, ToolError) as error:
            print(f"benchmarks: {name} could not be measured: {error}", file=sys.stderr)
    return measured


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ours beside references.")
    add = parser.add_argument
    add("questions", nargs="*", metavar="question", help="which to measure (all but the soak)")
    add("--quick", action="store_true", help="one second per measurement: enough to see a factor, not a percent")
    add("--runs", type=_runs, default=3, help="turns per server, of which the median counts (3)")
    add("--seconds", type=float, default=600.0, help="how long the soak takes (600)")
    add("--redis", default=VALKEY, help="valkey (default), redis6, or the path of a redis-server")
    add("--list", action="store_true", help="name the questions and stop")
    add("--label", help="name in the results file instead of the commit")
    add("--results", type=Path, default=RESULTS, help="folder for the results (benchmarks/results)")
    return parser.parse_args(argv)


def _runs(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    if int(text) < 3:
        print("benchmarks: fewer than 3 runs make no median; read the figures with care.", file=sys.stderr)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
