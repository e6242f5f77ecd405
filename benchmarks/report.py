"""What a benchmark says: rows with a goal, the table for people, the JSON file for later comparison.

Used by the questions (Row, Goal) and by `python -m benchmarks`.
Invariant: a ratio is always ours / reference, both measured in one run, seconds apart.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Literal

REPOSITORY = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("gotaskq", "hiredis", "httptools", "msgspec", "redis", "starlette", "uvicorn", "uvloop")
UNCOMMITTED = "worktree"  # in the file's name when no commit describes what was measured
STEADY_FACTOR = 1.25  # between the highest and the lowest run's ratio; beyond it the median is luck
MANY_RUNS = 12  # from here on the middle half says how far the median can be trusted, whatever the odd run did
UNSTEADY = f"~ the ratio differs by more than {STEADY_FACTOR:g}x from run to run: measure again on a quieter machine"
HEADINGS = ("question", "ours", "reference", "ratio", "goal", "met?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound on the ratio to the reference, or on our own figure in the row's unit."""

    bound: float
    of: Literal["ratio", "ours"] = "ratio"
    sense: Literal["at least", "at most"] = "at least"

    def is_met_by(self, figure: float) -> bool:
        """Compare a figure with the bound."""
        return figure >= self.bound if self.sense == "at least" else figure <= self.bound

    def describe(self, unit: str) -> str:
        """Write the goal as short as a table cell."""
        sign = "≥" if self.sense == "at least" else "≤"
        return f"{sign} {self.bound:g}x" if self.of == "ratio" else f"{sign} {format_figure(self.bound)} {unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One answer: our median, the reference's median, and every run behind them."""

    question: str
    ours: float
    unit: str
    reference: float | None = None
    against: str = ""
    goal: Goal | None = None
    note: str = ""
    ours_runs: tuple[float, ...] = ()
    reference_runs: tuple[float, ...] = ()

    @property
    def run_ratios(self) -> list[float]:
        """Return ours / reference for each run that measured both."""
        return [ours / theirs for ours, theirs in zip(self.ours_runs, self.reference_runs, strict=False) if theirs]

    @property
    def ratio(self) -> float | None:
        """Return the median of the runs' ratios (what slows one run slows both sides), else ours / reference."""
        if self.run_ratios:
            return median(self.run_ratios)
        return self.ours / self.reference if self.reference else None

    @property
    def met(self) -> bool | None:
        """Return whether the goal is reached; None when there is none, or nothing to hold it against."""
        figure = self.ours if self.goal is not None and self.goal.of == "ours" else self.ratio
        return None if self.goal is None or figure is None else self.goal.is_met_by(figure)

    @property
    def steady(self) -> bool:
        """Return whether the runs agree well enough for the ratio to mean something."""
        ratios = sorted(self.run_ratios)
        if len(ratios) >= MANY_RUNS:
            ratios = ratios[len(ratios) // 4 : -(len(ratios) // 4)]
        return not ratios or ratios[-1] <= STEADY_FACTOR * ratios[0]

    def to_json(self) -> dict[str, object]:
        """Return everything the row says, derived values included."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met, "steady": self.steady}


def format_table(rows: Sequence[Row]) -> str:
    """Align the rows for a terminal; notes follow below."""
    notes = list(dict.fromkeys(row.note for row in rows if row.note))
    lines = [HEADINGS, *(_cells(row, notes) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = [_align(line, widths) for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    legend = [f"[{number}] {note}" for number, note in enumerate(notes, 1)]
    if not all(row.steady for row in rows):
        legend.append(UNSTEADY)
    return "\n".join([*text, *legend])


def _cells(row: Row, notes: Sequence[str]) -> tuple[str, ...]:
    mark = f" [{notes.index(row.note) + 1}]" if row.note else ""
    reference = "" if row.reference is None else f"{format_figure(row.reference)} {row.against}".rstrip()
    return (
        row.question + mark,
        f"{format_figure(row.ours)} {row.unit}",
        reference,
        "" if row.ratio is None else f"{row.ratio:.2f}x" + (" " if row.steady else "~"),
        "" if row.goal is None else row.goal.describe(row.unit),
        {True: "yes", False: "NO", None: ""}[row.met],
    )


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.rjust(width) if heading in {"ours", "ratio"} else cell.ljust(width)
        for heading, cell, width in zip(HEADINGS, cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def format_figure(figure: float) -> str:
    """Write three significant digits, or the whole number with separators from 100 on."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def save_results(measured: Mapping[str, Sequence[Row]], *, options: object, label: str | None, folder: Path) -> Path:
    """Write one file per day and commit; questions measured earlier stay in it, unless measured again."""
    now = datetime.now(UTC)
    commit = label or current_commit()
    path = folder / f"{now.date().isoformat()}-{commit}.json"
    questions = json.loads(path.read_text())["questions"] if path.exists() else {}
    for question, rows in measured.items():
        questions[question] = {
            "measured_at": now.isoformat(timespec="seconds"),
            "options": options,
            "rows": [row.to_json() for row in rows],
        }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"commit": commit, "machine": machine_facts(), "questions": questions}, indent=2) + "\n")
    return path


def current_commit() -> str:
    """Return the short commit, or `worktree` when files differ from it or there is no repository."""
    try:
        changes = _git("--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
        return UNCOMMITTED if changes else _git("rev-parse", "--short", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return UNCOMMITTED


def _git(*arguments: str) -> str:
    argv = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def machine_facts() -> dict[str, object]:
    """Describe what the figures depend on: processor, cores, interpreter, package versions."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "optimized": sys.flags.optimize,
        "packages": {package: _version(package) for package in PACKAGES},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
