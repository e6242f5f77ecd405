"""Two servers side by side, driven in short rounds that take turns: what differs by a few percent shows through noise.

For questions whose two sides do nearly the same. Who goes first changes from pair to pair, so drift favours nobody.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.harness import Options, Server, ServerSpec, drive_at, serving, telling_tool
from benchmarks.report import Goal, Row

PAIRS = 10  # a run; jobs pile up in memory meanwhile, so more runs tell more than longer ones
QUICK_PAIRS = 2
ROUND_S = 1.0  # the least wrk knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one server did in one round; the CPU time is that of its whole process, where the system tells."""

    answers_per_s: float
    cpu_us_per_answer: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Round n of ours and round n of the reference followed each other."""

    tool: str
    ours: Sequence[Round]
    reference: Sequence[Round]

    def rate(self, question: str, *, against: str, goal: Goal | None = None) -> Row:
        """Make a row of the answers a second; its ratio is the median of the pairs'."""
        ours, reference = ([one.answers_per_s for one in side] for side in (self.ours, self.reference))
        return self._row(f"{question}, {self.tool}", ours, reference, "req/s", against, goal)

    def cpu(self, question: str, *, against: str, goal: Goal | None = None) -> list[Row]:
        """Make a row of the server's CPU time for an answer; none where the system does not tell."""
        ours, reference = (
            [one.cpu_us_per_answer for one in side if one.cpu_us_per_answer is not None]
            for side in (self.ours, self.reference)
        )
        if len(ours) < len(self.ours) or len(reference) < len(self.reference):
            return []
        return [self._row(f"{question}, CPU of the server a request", ours, reference, "µs", against, goal)]

    def _row(
        self,
        question: str,
        ours: Sequence[float],
        reference: Sequence[float],
        unit: str,
        against: str,
        goal: Goal | None,
    ) -> Row:
        return Row(
            question=question,
            ours=median(ours),
            unit=unit,
            reference=median(reference),
            against=against,
            goal=goal,
            ours_runs=tuple(ours),
            reference_runs=tuple(reference),
        )


def measure_pairs(ours: ServerSpec, reference: ServerSpec, options: Options) -> Pairs:
    """Start both servers afresh for each run, warm them up, and drive them in turns."""
    tool = telling_tool()
    rounds: dict[str, list[Round]] = {ours.name: [], reference.name: []}
    for number in range(1, options.runs + 1):
        with ExitStack() as opened:
            pair = [(spec, opened.enter_context(serving(spec))) for spec in (ours, reference)]
            for spec, server in pair:
                drive_at("loadgen", spec, server.url, options, duration_s=options.warmup_s)
            for _ in range(QUICK_PAIRS if options.is_quick else PAIRS):
                for spec, server in pair:
                    rounds[spec.name].append(_round(tool, spec, server, options))
                pair.reverse()
        shown = "   ".join(f"{name} {median(one.answers_per_s for one in seen):,.0f}" for name, seen in rounds.items())
        print(f"  run {number}/{options.runs}  {shown} req/s", file=sys.stderr)
    return Pairs(tool=tool, ours=rounds[ours.name], reference=rounds[reference.name])


def _round(tool: str, spec: ServerSpec, server: Server, options: Options) -> Round:
    before_s = _cpu_s(server.pid)
    result = drive_at(tool, spec, server.url, options, duration_s=ROUND_S)
    after_s = _cpu_s(server.pid)
    cpu_us = None if before_s is None or after_s is None else (after_s - before_s) / result.answered * 1e6
    return Round(answers_per_s=result.requests_per_s, cpu_us_per_answer=cpu_us)


def _cpu_s(pid: int) -> float | None:
    """Return the CPU time of a process, all its threads, to the nanosecond; None where there is no such file."""
    try:
        spent = [path.read_text().split()[0] for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except OSError:  # a thread ended meanwhile
        return None
    return sum(map(int, spent)) / 1e9 if spent else None
