"""Measures all libraries on one Redis, in turns: each kind of work goes round them before the next kind comes.

Each library has a database of its own on the one server, so that the jobs it enqueued wait there for its worker while
the others have their turn.
Invariant: a library that fails is left out from then on, and said to have failed; the others go on.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchmarks.loadgen import percentile
from benchmarks.peers.meter import JOBS, REPORT
from benchmarks.peers.peers import ENQUEUES, Kind, Peer
from benchmarks.peers.venvs import python_of, version_of
from benchmarks.processes import ServerError, started
from benchmarks.redis_server import RedisServer
from benchmarks.report import REPOSITORY, format_figure
from benchmarks.tools import ToolError

ROLE_WAIT_S = 120.0
DRAIN_WAIT_S = 120.0
SHARES = {Kind.ONE: 0.2, Kind.MANY: 0.4, Kind.BULK: 0.4}  # of a library's jobs, by the way they are enqueued
WARM_UP = 20  # timed jobs that do not count
NEVER = 10**9  # jobs: a worker whose jobs are timed writes no rate
WORDS_SHOWN = 400  # characters of what a library says when it fails


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much to measure: runs, the part of each library's jobs that are enqueued and drained, timed jobs a run."""

    runs: int
    part: float
    timed: int


@dataclass(slots=True)
class Results:
    """The figures of each run by library and kind (jobs a second; ms for the latency), and who failed why."""

    figures: defaultdict[tuple[Peer, Kind], list[float]] = field(default_factory=lambda: defaultdict(list))
    versions: dict[Peer, str] = field(default_factory=dict)
    failures: dict[Peer, str] = field(default_factory=dict)

    def runs(self, peer: Peer, kind: Kind) -> tuple[float, ...]:
        """Return the figure of each run."""
        return tuple(self.figures.get((peer, kind), ()))

    def median(self, peer: Peer, kind: Kind) -> float | None:
        """Return the median of the runs, or None where nothing was measured."""
        runs = self.runs(peer, kind)
        return median(runs) if runs else None


def measure(redis: RedisServer, libraries: Sequence[Peer], extent: Extent) -> Results:
    """Measure every kind of every library, run by run."""
    results = Results()
    for number in range(1, extent.runs + 1):
        redis.forget()
        for kind in Kind:
            for database, peer in enumerate(libraries):
                if peer not in results.failures:
                    if kind is Kind.LATENCY:
                        redis.forget(database)  # what a drain left at its end is not what is timed
                    _attempt(results, peer, kind, redis.url_of(database), extent)
        print(f"  run {number}/{extent.runs} is done", file=sys.stderr)
    for peer in results.failures:
        for kind in Kind:  # half a set of runs would be compared with other libraries' whole one
            results.figures.pop((peer, kind), None)
    return results


def _attempt(results: Results, peer: Peer, kind: Kind, url: str, extent: Extent) -> None:
    sized = replace(peer, jobs=int(peer.jobs * extent.part))
    try:
        results.versions[peer] = version_of(peer)
        figure = _figure(sized, kind, url, extent)
    except (ToolError, ServerError, OSError) as error:
        results.failures[peer] = f"{kind.name.lower()}: {error}"
        print(f"benchmarks: {peer.name} is left out: {results.failures[peer]}", file=sys.stderr)
        return
    if kind in peer.kinds:
        results.figures[peer, kind].append(figure)
        print(f"  {peer.name:<14} {kind.name.lower():<8} {format_figure(figure)}", file=sys.stderr)


def _figure(peer: Peer, kind: Kind, url: str, extent: Extent) -> float:
    if kind in ENQUEUES:
        return _enqueue(peer, kind, url)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        if kind is Kind.DRAIN:
            return _drain(peer, url, report)
        return _latency_ms(peer, url, report, samples=extent.timed)


def _enqueue(peer: Peer, kind: Kind, url: str) -> float:
    """Enqueue this kind's share of the jobs that will be drained; where the library has no such call, many at once."""
    role = kind if kind in peer.kinds else Kind.MANY
    return _play(peer, role.value, url, jobs=int(peer.jobs * SHARES[kind]), env={})


def _drain(peer: Peer, url: str, report: Path) -> float:
    env = {JOBS: str(peer.jobs), REPORT: str(report)}
    with started(peer.name, _argv(peer, Kind.DRAIN.value, url, 0), env) as worker:
        worker.wait_until(report.exists, what="drained its jobs", wait_s=DRAIN_WAIT_S)
    rate: float = json.loads(report.read_text())["jobs_per_s"]
    return rate


def _latency_ms(peer: Peer, url: str, report: Path, *, samples: int) -> float:
    """Return the median wait of jobs sent one at a time to a worker that has nothing else."""
    env = {JOBS: str(NEVER), REPORT: str(report)}
    with started(peer.name, _argv(peer, Kind.DRAIN.value, url, 0), env):
        _play(peer, Kind.LATENCY.value, url, jobs=samples + WARM_UP, env=env)
    waits_ms = sorted(int(line) / 1e6 for line in report.read_text().split()[WARM_UP:])
    return percentile(waits_ms, 50)


def _play(peer: Peer, role: str, url: str, *, jobs: int, env: dict[str, str]) -> float:
    """Run the library's program to its end and return the rate it prints."""
    argv = _argv(peer, role, url, jobs)
    environment = {**os.environ, **env}
    try:
        ended = subprocess.run(
            argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=ROLE_WAIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{role} did not end within {ROLE_WAIT_S:g} s") from error
    if ended.returncode:
        raise ToolError(f"{role} failed: {ended.stderr.strip()[-WORDS_SHOWN:]}")
    rate: float = json.loads(ended.stdout.splitlines()[-1])["jobs_per_s"]
    return rate


def _argv(peer: Peer, role: str, url: str, jobs: int) -> list[str]:
    program = f"benchmarks.peers.libraries.{peer.module}"
    return [python_of(peer), "-m", program, role, url, str(jobs), str(peer.slots)]
