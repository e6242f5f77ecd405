"""Asks how much memory of Redis a waiting job takes beyond its payload.

The figure is the growth of `used_memory`, which is what the server's allocator has given out, over the payloads' bytes.
The reference is the job as one JSON string with one member in a sorted set.
"""

from benchmarks.harness import Options
from benchmarks.redis_server import RedisServer, redis_server
from benchmarks.report import Goal, Row
from benchmarks.turns import Figures, Measure, Turns, workload
from benchmarks.workloads.memory import PAYLOAD_BYTES, WARM_UP
from benchmarks.workloads.redis_jobs import BULK

QUESTION = "memory, Redis: bytes per pending job, beyond its payload"

JOBS = 100_000
QUICK_JOBS = 20_000
SMALL = Goal(bound=450, of="ours", sense="at most")
STRINGS = "JSON string and sorted set"


def measure(options: Options) -> list[Row]:
    """Measure our jobs and the strings in turns, each with an empty Redis."""
    jobs = QUICK_JOBS if options.is_quick else JOBS
    with redis_server(options.redis) as redis:
        turns = Turns(
            options,
            {
                "ours": _growth(redis, "redis_jobs", "in_bulk", jobs=jobs, size=BULK),
                STRINGS: _growth(redis, "json_strings", "stored", jobs=jobs),
            },
        )
        note = f"{redis.note}, allocator {redis.allocator()}"
    question = f"{jobs:,} pending jobs in Redis"
    return [turns.row(question, ours="ours", figure="bytes_per_job", unit="B", against=STRINGS, goal=SMALL, note=note)]


def _growth(redis: RedisServer, module: str, function: str, *, jobs: int, **arguments: int) -> Measure:
    def measure() -> Figures:
        workload(module, function, url=redis.url, jobs=WARM_UP, **arguments)()
        before = redis.used_bytes()
        workload(module, function, url=redis.url, jobs=jobs, **arguments)()
        return {"bytes_per_job": (redis.used_bytes() - before) / jobs - PAYLOAD_BYTES}

    return redis.emptied(measure)
