"""Asks how soon an idle worker starts on a job that comes through Redis, in the same process and in another.

One job at a time. The references wait in BLPOP, which is the least a hand-over by Redis takes: a task of the same
process, and a process of its own that blocks.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.apps import STARTS_FILE
from benchmarks.harness import Options, ServerSpec, serving
from benchmarks.processes import started
from benchmarks.questions.latency import ARGV, QUICK_SAMPLES, SAMPLES
from benchmarks.redis_server import RedisServer, redis_server
from benchmarks.references.naive_redis import URL
from benchmarks.report import Goal, Row
from benchmarks.turns import Turns, workload

QUESTION = "latency, Redis: from enqueue to the start of the handler, idle workers"

SOON = Goal(bound=1.0, of="ours", sense="at most")
SELDOM_LATE = Goal(bound=5.0, of="ours", sense="at most")
GOALS = {"p50": SOON, "p99": SELDOM_LATE}
BLPOP = (sys.executable, "-m", "benchmarks.references.blpop")
BLOCKED = "task in BLPOP"
BLOCKED_ELSEWHERE = "process in BLPOP"


def measure(options: Options) -> list[Row]:
    """Measure within one process, then between two, each in turns with its reference."""
    samples = QUICK_SAMPLES if options.is_quick else SAMPLES
    with redis_server(options.redis) as redis:
        on = partial(workload, url=redis.url, samples=samples)
        near = Turns(options, {"ours": on("wake", "worker"), BLOCKED: on("bare_list", "blocked_task")})
        redis.forget()
        with _waiting_elsewhere(redis) as (starts, blocked_starts):
            ours = on("far_wake", "enqueued", starts=str(starts))
            blocked = on("far_wake", "pushed", starts=str(blocked_starts))
            far = Turns(options, {"ours": ours, BLOCKED_ELSEWHERE: blocked})
    return [
        *_rows(near, "same process", BLOCKED, redis.note),
        *_rows(far, "another process", BLOCKED_ELSEWHERE, redis.note),
    ]


@contextmanager
def _waiting_elsewhere(redis: RedisServer) -> Iterator[tuple[Path, Path]]:
    """Start our server and a process in BLPOP; give the files they write their starts to."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        starts, blocked_starts = Path(folder) / "starts", Path(folder) / "blocked"
        starts.touch()
        blocked_starts.touch()
        ours = ServerSpec(name="stamped", argv=ARGV, env={"LOG_LEVEL": "warning", STARTS_FILE: str(starts)})
        opened.enter_context(serving(redis.behind(ours)))
        env = {URL: redis.url, STARTS_FILE: str(blocked_starts)}
        blocked = opened.enter_context(started(BLOCKED_ELSEWHERE, BLPOP, env))
        blocked.wait_until(lambda: redis.waiting_clients() > 0, what="begun to wait")
        yield starts, blocked_starts


def _rows(turns: Turns, place: str, against: str, note: str) -> list[Row]:
    row = partial(turns.row, ours="ours", unit="ms", against=against, note=note)
    return [
        row(f"enqueue to start on Redis, {place}, {figure}", figure=f"{figure}_ms", goal=goal)
        for figure, goal in GOALS.items()
    ]
