"""Asks how many jobs a second `POST /jobs/batch` puts into Redis, a hundred a request, beside one job a request.

No workers run. Both sides are driven by our own generator, as in `batch_ingestion`.
"""

from functools import partial

from benchmarks.harness import Options
from benchmarks.questions.batch_ingestion import BATCH, CONNECTIONS, JOBS, jobs_per_s
from benchmarks.questions.http_ingestion import OURS as SINGLE
from benchmarks.redis_server import redis_server
from benchmarks.report import Goal, Row
from benchmarks.turns import Turns

QUESTION = "bulk ingestion, Redis: POST /jobs/batch, 100 jobs a request"

ENOUGH = Goal(bound=50_000, of="ours")


def measure(options: Options) -> list[Row]:
    """Measure batches and single jobs in turns, each with an empty Redis."""
    with redis_server(options.redis) as redis:
        batch = partial(jobs_per_s, redis.behind(BATCH), options, jobs=JOBS, connections=CONNECTIONS)
        single = partial(jobs_per_s, redis.behind(SINGLE), options, jobs=1, connections=options.connections)
        turns = Turns(options, {"batch": redis.emptied(batch), "single": redis.emptied(single)})
    row = partial(turns.row, "POST /jobs/batch on Redis", ours="batch", figure="jobs_per_s", unit="jobs/s")
    return [row(against="single", goal=ENOUGH, note=redis.note)]
