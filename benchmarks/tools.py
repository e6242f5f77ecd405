"""The load generators behind one call: wrk, hey and our own, each run as its own process.

Used by the harness; wrk and hey are optional, ours is always there.
Invariant: a LoadResult stands for clean runs only; an answer other than 2xx or a lost connection raises ToolError.
"""

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.loadgen import LoadReport

HERE = Path(__file__).parent
EXTRA_WAIT_S = 30  # what a tool may take beyond its duration before it counts as hung
JSON = "application/json"


class ToolError(Exception):
    """A load generator failed, or saw failures that make its figures worthless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send where, for how long, over how many connections. hey needs more of them to come near its best."""

    url: str
    body: str
    duration_s: float
    connections: int = 100
    hey_connections: int = 200
    rate: float | None = None  # requests a second at most; only our own generator can hold back


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What one run of one tool saw."""

    tool: str
    answered: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float


class WrkSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The line of JSON that post_job.lua prints."""

    answered: int
    duration_us: int
    p50_us: int
    p99_us: int
    bad_statuses: int
    socket_errors: int


def run_wrk(load: Load) -> LoadResult:
    """Drive with wrk on one thread; it knows whole seconds only, so the duration is rounded up."""
    seconds = math.ceil(load.duration_s)
    options = ["-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "20s"]
    output = _run(
        ["wrk", *options, "-s", str(HERE / "post_job.lua"), load.url], wait_s=seconds, env={"JOB_BODY": load.body}
    )
    return parse_wrk(output)


def parse_wrk(output: str) -> LoadResult:
    """Read the JSON line among wrk's words."""
    line = next((line for line in output.splitlines() if line.startswith("{")), None)
    if line is None:
        raise ToolError(f"wrk printed no summary, but: {output.strip()}")
    seen = msgspec.json.decode(line, type=WrkSummary)
    _refuse_failures("wrk", answered=seen.answered, failed=seen.bad_statuses + seen.socket_errors)
    return LoadResult(
        tool="wrk",
        answered=seen.answered,
        requests_per_s=seen.answered / seen.duration_us * 1e6,
        p50_ms=seen.p50_us / 1000,
        p99_ms=seen.p99_us / 1000,
    )


def run_hey(load: Load) -> LoadResult:
    """Drive with hey."""
    options = ["-z", f"{load.duration_s:g}s", "-c", str(load.hey_connections), "-m", "POST", "-T", JSON]
    return parse_hey(_run(["hey", *options, "-d", load.body, load.url], wait_s=load.duration_s))


def parse_hey(output: str) -> LoadResult:
    """Read hey's summary for people."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    latencies = {int(percent): float(s) for percent, s in re.findall(r"(\d+)%+ in ([\d.]+) secs", output)}
    if rate is None or not {50, 99} <= latencies.keys():
        raise ToolError(f"hey printed no usable summary, but: {output.strip()}")
    statuses = {int(status): int(count) for status, count in re.findall(r"\[(\d+)\]\t(\d+) responses", output)}
    answered = sum(statuses.values())
    _, _, errors = output.partition("Error distribution:")
    lost = sum(int(count) for count in re.findall(r"^\s*\[(\d+)\]", errors, re.MULTILINE))
    _refuse_failures("hey", answered=answered, failed=_bad(statuses) + lost)
    return LoadResult(
        tool="hey",
        answered=answered,
        requests_per_s=float(rate[1]),
        p50_ms=latencies[50] * 1000,
        p99_ms=latencies[99] * 1000,
    )


def run_loadgen(load: Load) -> LoadResult:
    """Drive with our own generator."""
    options = ["-z", f"{load.duration_s:.3f}s", "-c", str(load.connections), "-m", "POST", "-T", JSON, "--json"]
    if load.rate is not None:
        options += ["--rate", f"{load.rate:.0f}"]
    argv = [sys.executable, str(HERE / "loadgen.py"), *options, "-d", load.body, load.url]
    report = msgspec.json.decode(_run(argv, wait_s=load.duration_s), type=LoadReport)
    _refuse_failures("loadgen", answered=report.answered, failed=_bad(report.status_counts) + report.error_count)
    return LoadResult(
        tool="loadgen",
        answered=report.answered,
        requests_per_s=report.requests_per_s,
        p50_ms=report.p50_ms,
        p99_ms=report.p99_ms,
    )


RUNNERS: Mapping[str, Callable[[Load], LoadResult]] = {"wrk": run_wrk, "hey": run_hey, "loadgen": run_loadgen}
EXTERNAL = ("wrk", "hey")


def available_tools() -> list[str]:
    """Name the tools that can run here, the most telling first; say on stderr which are missing."""
    missing = [tool for tool in EXTERNAL if shutil.which(tool) is None]
    for tool in missing:
        print(f"benchmarks: {tool} is not installed; its figures will be missing from the table.", file=sys.stderr)
    return [tool for tool in RUNNERS if tool not in missing]


def drive(tool: str, load: Load) -> LoadResult:
    """Run the named tool once."""
    return RUNNERS[tool](load)


def _run(argv: Sequence[str], *, wait_s: float, env: Mapping[str, str] | None = None) -> str:
    try:
        ended = subprocess.run(
            argv,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=wait_s + EXTRA_WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{argv[0]} did not end within {error.timeout:g} s and was killed") from error
    if not ended.stdout.strip():
        raise ToolError(f"{argv[0]} ended with code {ended.returncode}: {ended.stderr.strip()}")
    return ended.stdout


def _bad(statuses: Mapping[int, int]) -> int:
    return sum(count for status, count in statuses.items() if not 200 <= status < 300)


def _refuse_failures(tool: str, *, answered: int, failed: int) -> None:
    if failed or not answered:
        raise ToolError(f"{tool} saw {answered} answers and {failed} failures: the server did not keep up or refused")
