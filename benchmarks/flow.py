"""Jobs through a server, from the request until they are done: counted from outside, on its metrics page.

Used by the questions that ask for work done rather than for requests answered.
Invariant: a rate counts only jobs that the server itself says are done, and is refused when some never were.
"""

import http.client
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.harness import Options, Server, ServerSpec
from benchmarks.processes import HOST
from benchmarks.tools import Load, LoadResult, ToolError, drive

DRAIN_WAIT_S = 120.0
LOOK_EVERY_S = 0.01
ANSWER_WAIT_S = 30.0
LOADED_PART = 0.9  # of the load's duration; the second look comes while it still runs
NOTHING_DONE_WAIT_S = 10.0

APP = (sys.executable, "-m", "gotaskq", "run", "benchmarks.apps:app", "--port", "{port}", "--workers", "10")
ENV = {"LOG_LEVEL": "warning", "MAX_QUEUE_DEPTH": "100000000"}
WORKING = ServerSpec(name="HTTP to DONE", argv=APP, env=ENV)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the metrics page said, and when."""

    at_s: float
    enqueued: int
    done: int
    failed: int

    def done_per_s_since(self, earlier: "Look") -> float:
        """Return the jobs done a second between two looks."""
        return (self.done - earlier.done) / max(self.at_s - earlier.at_s, 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What one load brought: jobs done a second while it ran and until all were done, and the generator's view."""

    loaded_per_s: float
    drained_per_s: float
    result: LoadResult


def look(server: Server) -> Look:
    """Read the metrics page; raises ToolError when there is none."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=ANSWER_WAIT_S)
    try:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise ToolError(f"the server gave no metrics: {error!r}") from error
    finally:
        connection.close()
    return Look(
        at_s=time.monotonic(),
        enqueued=_sum(page, "gotaskq_jobs_enqueued_total{"),
        done=_sum(page, "gotaskq_jobs_processed_total{", 'status="done"'),
        failed=_sum(page, "gotaskq_jobs_processed_total{", 'status="failed"'),
    )


def _sum(page: str, name: str, label: str = "") -> int:
    lines = (line for line in page.splitlines() if line.startswith(name) and label in line)
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


def wait_until_drained(server: Server) -> Look:
    """Look until every accepted job is done; raises ToolError when that takes too long."""
    deadline = time.monotonic() + DRAIN_WAIT_S
    while (seen := look(server)).done < seen.enqueued:
        if time.monotonic() > deadline:
            raise ToolError(f"{seen.enqueued - seen.done} jobs are not done after {DRAIN_WAIT_S:g} s")
        time.sleep(LOOK_EVERY_S)
    return seen


def measure_flow(server: Server, tool: str, options: Options, *, duration_s: float) -> Flow:
    """Load the server, look once work is done, once before the load ends, and once when all is done."""
    load = Load(
        url=server.url + WORKING.path,
        body=WORKING.body,
        duration_s=duration_s,
        connections=options.connections,
        hey_connections=options.hey_connections,
    )
    before = wait_until_drained(server)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(drive, tool, load)
        first = _first_done(server, loading, before)
        time.sleep(duration_s * LOADED_PART)
        loaded = look(server)
        result = loading.result()
    drained = wait_until_drained(server)
    return Flow(
        loaded_per_s=loaded.done_per_s_since(first), drained_per_s=drained.done_per_s_since(first), result=result
    )


def _first_done(server: Server, loading: "Future[LoadResult]", before: Look) -> Look:
    deadline = time.monotonic() + NOTHING_DONE_WAIT_S
    while (seen := look(server)).done == before.done:
        if time.monotonic() > deadline or loading.done():
            raise ToolError("the load began, but no job was done")
        time.sleep(LOOK_EVERY_S)
    return seen
