"""Asks how many jobs a second the library puts into Redis in each way, and one worker process takes out.

The reference is a bare list: a JSON string pushed, popped, decoded and forgotten with redis-py. It keeps no promise of
ours, so it is what the round trips alone cost.
"""

from functools import partial

from benchmarks.harness import Options
from benchmarks.redis_server import redis_server
from benchmarks.report import Goal, Row
from benchmarks.turns import Measure, Turns, workload

QUESTION = "library, Redis: enqueue one by one, many at once, in bulk; drain by one worker process"

JOBS = {"one_by_one": 5_000, "many_at_once": 30_000, "drain": 50_000}
BULK_JOBS = 50_000
SIZES = (100, 1_000)
QUICK_PART = 5  # of the jobs
NAMES = {
    "one_by_one": "enqueue awaited one by one",
    "many_at_once": "enqueue by 100 callers at once",
    "drain": "drain by one worker process, 10 slots",
}
GOALS = {"many_at_once": Goal(bound=30_000, of="ours"), "drain": Goal(bound=20_000, of="ours")}
ENOUGH_IN_BULK = Goal(bound=60_000, of="ours")
REFERENCE = "bare list"


def measure(options: Options) -> list[Row]:
    """Measure each way and the same on a bare list in turns, each with an empty Redis."""
    part = QUICK_PART if options.is_quick else 1
    with redis_server(options.redis) as redis:
        measures: dict[str, Measure] = {}
        for name, module in (("ours", "redis_jobs"), (REFERENCE, "bare_list")):
            on = partial(workload, module, url=redis.url)
            measures |= {f"{way} {name}": on(way, jobs=jobs // part) for way, jobs in JOBS.items()}
            measures |= {f"{size} {name}": on("in_bulk", jobs=BULK_JOBS // part, size=size) for size in SIZES}
        # By way, so that ours and its reference follow each other.
        ordered = sorted(measures, key=lambda name: name.split()[0])
        turns = Turns(options, {name: redis.emptied(measures[name]) for name in ordered})
    row = partial(turns.row, figure="jobs_per_s", unit="jobs/s", reference_name=REFERENCE, note=redis.note)
    ways = [row(NAMES[way], ours=f"{way} ours", against=f"{way} {REFERENCE}", goal=GOALS.get(way)) for way in NAMES]
    bulks = [
        row(f"enqueue_many by {size}", ours=f"{size} ours", against=f"{size} {REFERENCE}", goal=ENOUGH_IN_BULK)
        for size in SIZES
    ]
    return [*ways, *bulks]
