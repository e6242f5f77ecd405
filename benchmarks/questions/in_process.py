"""Asks how many jobs a second one Python process enqueues and runs, beside its own thread pool and bare asyncio tasks.

Each figure comes from a process of its own, so that no heap or garbage of one slows another.
"""

from benchmarks.harness import Options
from benchmarks.report import Goal, Row
from benchmarks.turns import Turns, workload

QUESTION = "in-process, memory: enqueue, enqueue_many, enqueue and run to DONE"

JOBS = 100_000
QUICK_JOBS = 20_000
THREADS = "ThreadPoolExecutor"
TASKS = "asyncio tasks"
ENOUGH = Goal(bound=100_000, of="ours")
OF_THREADS = Goal(bound=2.0)


def measure(options: Options) -> list[Row]:
    """Measure our three ways and the two references in turns."""
    jobs = QUICK_JOBS if options.is_quick else JOBS
    turns = Turns(
        options,
        {
            "run": workload("jobs", "enqueue_and_run", jobs=jobs),
            THREADS: workload("jobs", "threads", jobs=jobs),
            "one by one": workload("jobs", "enqueue_one_by_one", jobs=jobs),
            TASKS: workload("jobs", "tasks", jobs=jobs),
            "batches": workload("jobs", "enqueue_in_batches", jobs=jobs),
        },
    )
    return [
        _row(turns, "enqueue + run, 10 slots", "run", THREADS, OF_THREADS),
        _row(turns, "enqueue + run, 10 slots, absolute", "run", THREADS, ENOUGH),
        _row(turns, "enqueue + run, 10 slots", "run", TASKS),
        _row(turns, "enqueue one by one", "one by one", THREADS),
        _row(turns, "enqueue one by one", "one by one", TASKS),
        _row(turns, "enqueue_many by 100", "batches", THREADS),
        _row(turns, "enqueue_many by 100", "batches", TASKS),
    ]


def _row(turns: Turns, question: str, ours: str, against: str, goal: Goal | None = None) -> Row:
    return turns.row(question, ours=ours, figure="jobs_per_s", unit="jobs/s", against=against, goal=goal)
