"""Asks how long a job is held up whose worker was killed: from `kill -9` to its second start, with the default lease.

Three worker processes share a queue of jobs of one second; one of them is killed in the middle. Every job must be done
in the end. The reference is what is promised: the lease, the longest pause between two reaps, and a second to wake.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.apps import STARTS_FILE
from benchmarks.harness import Options
from benchmarks.processes import Process, started
from benchmarks.redis_server import RedisServer, redis_server
from benchmarks.report import Goal, Row
from gotaskq import TaskQ
from gotaskq.backends.redis.keys import Keys
from gotaskq.engine.maintenance import REAP_EVERY_S

QUESTION = "recovery, Redis: one of three workers is killed under load, LEASE=30s"
ON_REQUEST = True  # it takes as long as a lease

META = Keys("gotaskq").meta(0)
COUNTERS = META.removesuffix("meta") + "st"
WORKERS = 3
SLOTS = 10
JOBS = 400
LEASE_S = 30.0
WAKE_S = 1.0
PROMISED_S = LEASE_S + REAP_EVERY_S + WAKE_S
SOON = Goal(bound=36.0, of="ours", sense="at most")
WAIT_S = 120.0


def measure(options: Options) -> list[Row]:
    """Kill one worker of three each time, and follow its jobs."""
    runs = [_recovery_s(options.redis) for _ in range(min(options.runs, 3))]
    return [
        Row(
            question="kill -9 of a worker to the last second start of its jobs",
            ours=median(runs),
            unit="s",
            reference=PROMISED_S,
            against="lease + reap + wake",
            goal=SOON,
            note=f"every one of {JOBS} jobs done in each run",
            ours_runs=tuple(runs),
            reference_runs=(PROMISED_S,) * len(runs),
        )
    ]


def _recovery_s(program: str) -> float:
    with redis_server(program) as redis, tempfile.TemporaryDirectory() as folder, ExitStack() as workers:
        starts = Path(folder) / "starts"
        starts.touch()
        asyncio.run(_enqueue(redis))
        _let_be_in_use(redis)
        env = {STARTS_FILE: str(starts), "LOG_LEVEL": "warning", "BACKEND_URL": redis.url}
        argv = (sys.executable, "-m", "gotaskq", "worker", "benchmarks.apps:held", "--concurrency", str(SLOTS))
        team = [workers.enter_context(started(f"worker {number}", argv, env)) for number in range(WORKERS)]
        victim = team[0]
        victim.wait_until(lambda: _has_worked(starts, victim), what="run its second round of jobs")
        killed_ns = _kill(victim)
        team[1].wait_until(lambda: _all_done(redis), what="done what was left", wait_s=WAIT_S)
        return _last_restart_s(starts, victim.pid, killed_ns)


async def _enqueue(redis: RedisServer) -> None:
    async with TaskQ(redis.url) as app:
        await app.enqueue_many([app.job("held") for _ in range(JOBS)])


def _has_worked(starts: Path, worker: Process) -> bool:
    return sum(pid == worker.pid for pid, _, _ in _read(starts)) > SLOTS


def _kill(worker: Process) -> int:
    os.kill(worker.pid, signal.SIGKILL)
    return time.monotonic_ns()


def _let_be_in_use(redis: RedisServer) -> None:
    """Let the store be one that was reaped just now: a new one gives leases a grace of their own length first."""
    with redis.client() as client:
        seconds, _ = client.time()
        client.hset(META, "hb", str(seconds * 1000))


def _all_done(redis: RedisServer) -> bool:
    with redis.client() as client:
        return int(client.hget(COUNTERS, "done") or 0) == JOBS


def _last_restart_s(starts: Path, victim: int, killed_ns: int) -> float:
    """Return how long after the kill the last of the victim's unfinished jobs was started by another worker."""
    by_job: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for pid, job_id, started_ns in _read(starts):
        by_job[job_id].append((pid, started_ns))
    again = [runs[1][1] for runs in by_job.values() if len(runs) > 1 and runs[0][0] == victim]
    return (max(again) - killed_ns) / 1e9


def _read(starts: Path) -> list[tuple[int, str, int]]:
    lines = (line.split() for line in starts.read_text().splitlines())
    return [(int(pid), job_id, int(started_ns)) for pid, job_id, started_ns in lines]
