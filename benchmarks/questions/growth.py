"""Asks whether a long backlog or many queues slow the work down, in one process.

Jobs come and go at the same rate while a fixed number waits, so each figure stands for one length of the backlog.
A figure is held against that of the shortest backlog (or of one queue), measured just before it.
"""

from functools import partial
from pathlib import Path

from benchmarks.harness import Options
from benchmarks.picture import Line, Panel, draw
from benchmarks.report import REPOSITORY, Goal, Row
from benchmarks.turns import Measure, Turns, workload

QUESTION = "growth, memory: 1k to 1M pending jobs, 1 to 1,000 queues"

JOBS = 50_000  # enqueued and run for one figure
QUICK_JOBS = 10_000
BACKLOGS = (1_000, 10_000, 100_000, 1_000_000)
QUICK_BACKLOGS = BACKLOGS[:3]
QUEUES = (1, 10, 100, 1_000)
WAITING = 2_000  # jobs, while queues are counted
PICTURE = REPOSITORY / "docs" / "understand" / "growth.svg"
WITHIN_15_PERCENT = Goal(bound=0.85)
WITHIN_10_PERCENT = Goal(bound=0.90)
FIGURES = (("jobs_per_s", "enqueue + run"), ("enqueued_per_s", "enqueue alone"))


def measure(options: Options) -> list[Row]:
    """Measure every backlog and every number of queues in turns; draw the picture unless in a hurry."""
    jobs, backlogs = (QUICK_JOBS, QUICK_BACKLOGS) if options.is_quick else (JOBS, BACKLOGS)
    measures = _each_after_the_smallest({_waiting(n): _work(jobs=jobs, pending=n) for n in backlogs})
    measures |= _each_after_the_smallest({_registered(n): _work(jobs=jobs, queues=n) for n in QUEUES})
    measures |= _each_after_the_smallest({_used(n): _work(jobs=jobs, queues=n, spread=True) for n in QUEUES})
    turns = Turns(options, measures)
    by_backlog = _rows(turns, [_waiting(n) for n in backlogs], WITHIN_15_PERCENT)
    by_queues = _rows(turns, [_registered(n) for n in QUEUES], WITHIN_10_PERCENT)
    by_used = _rows(turns, [_used(n) for n in QUEUES], None)
    if not options.is_quick:
        _draw(PICTURE, turns)
    return [*by_backlog, *by_queues, *by_used]


def _work(*, jobs: int, pending: int = WAITING, queues: int = 1, spread: bool = False) -> Measure:
    return workload("jobs", "with_others_waiting", jobs=jobs, pending=pending, queues=queues, spread=spread)


def _each_after_the_smallest(measures: dict[str, Measure]) -> dict[str, Measure]:
    """Put the smallest anew before each of the others: what is compared has to be seconds apart."""
    smallest, *others = measures
    ordered = {smallest: measures[smallest]}
    for name in others:
        ordered |= {_before(name): measures[smallest], name: measures[name]}
    return ordered


def _before(name: str) -> str:
    return f"before {name}"


def _waiting(jobs: int) -> str:
    return f"{jobs:,} pending"


def _registered(queues: int) -> str:
    return "1 queue" if queues == 1 else f"{queues:,} queues, one used"


def _used(queues: int) -> str:
    return "1 queue, again" if queues == 1 else f"{queues:,} queues, all used"


def _rows(turns: Turns, names: list[str], goal: Goal | None) -> list[Row]:
    smallest, *others = names
    rows = []
    for figure, what in FIGURES:
        rows.append(turns.row(f"{what}, {smallest}", ours=smallest, figure=figure, unit="jobs/s"))
        for name in others:
            row = partial(turns.row, f"{what}, {name}", ours=name, figure=figure, unit="jobs/s", goal=goal)
            rows.append(row(against=_before(name), reference_name=smallest))
    return rows


def _draw(path: Path, turns: Turns) -> None:
    panels = [
        _panel("pending jobs", BACKLOGS, [_waiting(n) for n in BACKLOGS], turns, bound_percent=85),
        _panel("registered queues", QUEUES, [_registered(n) for n in QUEUES], turns, bound_percent=90),
    ]
    path.write_text(draw("Speed, in percent of that with the smallest number", panels))


def _panel(title: str, sizes: tuple[int, ...], names: list[str], turns: Turns, *, bound_percent: float) -> Panel:
    lines = []
    for figure, what in FIGURES:
        others = [turns.row("", ours=name, figure=figure, unit="", against=_before(name)) for name in names[1:]]
        lines.append(Line(name=what, percents=(100.0, *(100 * (row.ratio or 0) for row in others))))
    return Panel(title=title, sizes=sizes, lines=tuple(lines), bound_percent=bound_percent)
