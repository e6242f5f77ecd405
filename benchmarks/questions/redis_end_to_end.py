"""Asks how many jobs a second go from HTTP through Redis to DONE, in one process, beside a server that only answers.

Ten workers run a handler that does nothing. The figure is what the server's metrics say is done, until nothing is left.
"""

from functools import partial

from benchmarks.flow import WORKING
from benchmarks.harness import Options, answers, telling_tool
from benchmarks.questions.end_to_end import OURS, flow
from benchmarks.questions.http_ingestion import BARE
from benchmarks.questions.redis_ingestion import NAIVE, naive
from benchmarks.redis_server import redis_server
from benchmarks.report import Goal, Row
from benchmarks.turns import Turns

QUESTION = "end to end, Redis: HTTP to DONE, no-op handler, 10 workers, one process"

ENOUGH = Goal(bound=15_000, of="ours")


def measure(options: Options) -> list[Row]:
    """Measure our server and the references in turns, each with an empty Redis."""
    tool = telling_tool()
    with redis_server(options.redis) as redis:
        turns = Turns(
            options,
            {
                BARE.name: partial(answers, tool, options, BARE),
                OURS: redis.emptied(partial(flow, tool, options, redis.behind(WORKING))),
                NAIVE: redis.emptied(partial(answers, tool, options, naive(redis))),
            },
        )
    row = partial(turns.row, ours=OURS, note=redis.note)
    rate = partial(row, reference_figure="answers_per_s")
    drained = partial(rate, f"HTTP to DONE on Redis, {tool}, until drained", figure="drained", unit="jobs/s")
    return [
        drained(against=BARE.name, goal=ENOUGH),
        drained(against=NAIVE),
        rate(f"HTTP to DONE on Redis, {tool}, under load", figure="loaded", unit="jobs/s", against=BARE.name),
        rate(f"HTTP with workers on Redis, {tool}", figure="answers_per_s", unit="req/s", against=BARE.name),
        row(f"HTTP with workers on Redis, {tool}, p99", figure="p99_ms", unit="ms", against=BARE.name),
    ]
