"""Asks how many jobs a second HTTP takes in when each 201 is sent after Redis has the job.

No workers run. The references: the bare responder, which stores nothing, and the same HTTP with one script call to
Redis a request, as one would write it first.
"""

import sys
from functools import partial

from benchmarks.harness import Options, ServerSpec, answers, telling_tool
from benchmarks.questions.http_ingestion import BARE, OURS
from benchmarks.redis_server import RedisServer, redis_server
from benchmarks.references.naive_redis import URL
from benchmarks.report import Goal, Row
from benchmarks.turns import Turns

QUESTION = "HTTP ingestion, Redis: POST /jobs, confirmed by Redis"

NAIVE = "one call a request"
ENOUGH = Goal(bound=28_000, of="ours")
SELDOM_LATE = Goal(bound=12, of="ours", sense="at most")


def measure(options: Options) -> list[Row]:
    """Measure our server and the two references in turns, each with an empty Redis."""
    tool = telling_tool()
    with redis_server(options.redis) as redis:
        turns = Turns(
            options,
            {
                BARE.name: partial(answers, tool, options, BARE),
                "ours": redis.emptied(partial(answers, tool, options, redis.behind(OURS))),
                NAIVE: redis.emptied(partial(answers, tool, options, naive(redis))),
            },
        )
    row = partial(turns.row, ours="ours", note=redis.note)
    rate = partial(row, f"POST /jobs on Redis, {tool}", figure="answers_per_s", unit="req/s")
    p99 = partial(row, f"POST /jobs on Redis, {tool}, p99", figure="p99_ms", unit="ms")
    return [
        rate(against=BARE.name, goal=ENOUGH),
        rate(against=NAIVE),
        p99(against=BARE.name, goal=SELDOM_LATE),
        p99(against=NAIVE),
    ]


def naive(redis: RedisServer) -> ServerSpec:
    """Describe the server that makes one call a request."""
    argv = (sys.executable, "-m", "benchmarks.references.naive_redis", "--port", "{port}")
    return ServerSpec(name=NAIVE, argv=argv, env={URL: redis.url})
