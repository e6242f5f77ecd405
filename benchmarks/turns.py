"""Measures several things in turns and makes rows of the medians; for questions that `compare` does not fit.

Invariant: run n of ours and run n of its reference follow each other, so that noise on the machine hits both.
"""

from collections.abc import Callable, Mapping
from statistics import median

from benchmarks.harness import Options, figures_of
from benchmarks.report import Goal, Row

Figures = Mapping[str, float]
Measure = Callable[[], Figures]


class Turns:
    """The figures of every measurement, run by run."""

    def __init__(self, options: Options, measures: Mapping[str, Measure]) -> None:
        self._runs: dict[str, list[Figures]] = {name: [] for name in measures}
        for _ in range(options.runs):
            for name, measure in measures.items():
                self._runs[name].append(measure())

    def runs(self, name: str, figure: str) -> tuple[float, ...]:
        """Return one figure of one measurement, of each run."""
        return tuple(run[figure] for run in self._runs[name])

    def row(
        self,
        question: str,
        *,
        ours: str,
        figure: str,
        unit: str,
        against: str = "",
        reference_figure: str = "",
        reference_name: str = "",
        goal: Goal | None = None,
        note: str = "",
    ) -> Row:
        """Make a row of one figure of `ours`, and of `against` if it is given."""
        ours_runs = self.runs(ours, figure)
        reference_runs = self.runs(against, reference_figure or figure) if against else ()
        return Row(
            question=question,
            ours=median(ours_runs),
            unit=unit,
            reference=median(reference_runs) if reference_runs else None,
            against=reference_name or against,
            goal=goal,
            note=note,
            ours_runs=ours_runs,
            reference_runs=reference_runs,
        )


def workload(module: str, function: str, **arguments: object) -> Measure:
    """Name a workload, to be run later in a process of its own."""
    return lambda: figures_of(module, function, **arguments)
