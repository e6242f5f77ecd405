"""Memory of one process: how much its resident set grows for each job that waits."""

import json
import os
import subprocess
from pathlib import Path

from benchmarks.workloads.jobs import PAYLOAD, ROOMY, Rates, uvloop_run
from gotaskq import TaskQ

WARM_UP = 1_000  # what is allocated once is there by then
PAYLOAD_BYTES = len(json.dumps(PAYLOAD, separators=(",", ":")))


def rss_bytes(pid: int) -> int:
    """Return the resident set of a process; from /proc where there is one, else from ps."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except FileNotFoundError:
        argv = ["ps", "-o", "rss=", "-p", str(pid)]
        return int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout) * 1024
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def waiting_jobs(*, jobs: int) -> Rates:
    """Enqueue jobs that nobody runs; return the growth a job, without its payload's bytes."""
    return uvloop_run(_waiting_jobs(jobs))


async def _waiting_jobs(jobs: int) -> Rates:
    async with TaskQ(settings=ROOMY) as app:
        for _ in range(WARM_UP):
            await app.enqueue("logger", PAYLOAD)
        before = rss_bytes(os.getpid())
        for _ in range(jobs):
            await app.enqueue("logger", PAYLOAD)
        return {"bytes_per_job": (rss_bytes(os.getpid()) - before) / jobs - PAYLOAD_BYTES}


def dicts(*, jobs: int) -> Rates:
    """Keep the members of as many jobs in dicts in a list; return the growth a job, without its payload's bytes."""
    before = rss_bytes(os.getpid())
    kept = [_as_dict(number + 10**18) for number in range(jobs)]
    return {"bytes_per_job": (rss_bytes(os.getpid()) - before) / len(kept) - PAYLOAD_BYTES}


def _as_dict(number: int) -> dict[str, object]:
    return {
        "id": number,
        "type": "logger",
        "payload": json.dumps(PAYLOAD, separators=(",", ":")).encode(),
        "status": "PENDING",
        "priority": 0,
        "delay": 0,
        "max_retries": 5,
        "retry_count": 0,
        "created_at": number + 1,
        "updated_at": number + 2,
        "run_after": number + 3,
    }
