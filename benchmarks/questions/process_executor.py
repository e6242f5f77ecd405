"""Asks how many jobs a second go through child processes, beside ProcessPoolExecutor, for short and for 1 ms handlers.

Both have two spawned children, warm, and the same callers. Ours takes the whole job there as MessagePack and the result
back as JSON, watches each child and tells whose job it was when one dies; the reference pickles the same job.
"""

from benchmarks.harness import Options
from benchmarks.report import Goal, Row
from benchmarks.turns import Turns, workload

QUESTION = "process executor: handlers in two child processes, doing nothing and busy for 1 ms"

CHILDREN = 2
CALLERS = 10
JOBS = {"nothing": 20_000, "busy": 4_000}
QUICK_PART = 4
POOL = "ProcessPoolExecutor"
AS_FAST = Goal(bound=1.0)


def measure(options: Options) -> list[Row]:
    """Measure each handler by our executor, by the pool, and through a whole queue, in turns."""
    turns = Turns(
        options,
        {
            f"{handler} {function}": workload("children", function, jobs=_jobs(jobs, options), handler=handler, **more)
            for handler, jobs in JOBS.items()
            for function, more in (
                ("ours", {"children": CHILDREN, "callers": CALLERS}),
                ("pool", {"children": CHILDREN, "callers": CALLERS}),
                ("through_the_queue", {"children": CHILDREN}),
            )
        },
    )
    return [
        _row(turns, "0-op handler", "nothing ours", "nothing pool", AS_FAST),
        _row(turns, "0-op handler, enqueued before, until DONE", "nothing through_the_queue", "nothing pool"),
        _row(turns, "1 ms handler", "busy ours", "busy pool", AS_FAST),
        _row(turns, "1 ms handler, enqueued before, until DONE", "busy through_the_queue", "busy pool"),
    ]


def _jobs(jobs: int, options: Options) -> int:
    return jobs // QUICK_PART if options.is_quick else jobs


def _row(turns: Turns, question: str, ours: str, against: str, goal: Goal | None = None) -> Row:
    return turns.row(
        f"2 children, {question}",
        ours=ours,
        figure="jobs_per_s",
        unit="jobs/s",
        against=against,
        reference_name=POOL,
        goal=goal,
    )
