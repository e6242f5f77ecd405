"""Asks whether the server stays as it is under half its load for ten minutes: memory, errors, the rate of work.

Measured only when named (`python -m benchmarks soak --seconds 600`). The peak is measured first, for five seconds; the
load then is half of that. The generator starts anew every 30 s, so that its list of latencies stays small.
The server keeps 100,000 finished jobs, not the usual million, so that it is full of them before the load begins and
what grows afterwards is a leak. Every sample is kept in benchmarks/results/soak-….json.
"""

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from statistics import linear_regression

from benchmarks.flow import WORKING, look, measure_flow, wait_until_drained
from benchmarks.harness import Options, Server, serving
from benchmarks.report import REPOSITORY, Row, current_commit, machine_facts
from benchmarks.tools import Load, ToolError, drive
from benchmarks.workloads.memory import rss_bytes

QUESTION = "soak, memory: half load for --seconds; resident set, errors, rate"
ON_REQUEST = True

PEAK_S = 5.0
PART_S = 30.0  # of the load, by one generator
SAMPLE_EVERY_S = 5.0
SETTLING_S = 60.0  # caches and the allocator's arenas fill up in this time; at most half of the run
SERVER = replace(WORKING, env={**WORKING.env, "MAX_COMPLETED_JOBS": "100000"})
MEGA = 1e6
HOUR_S = 3600.0
RESULTS = REPOSITORY / "benchmarks" / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The server at one moment, `at_s` seconds after the load began."""

    at_s: float
    rss_bytes: int
    enqueued: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What a soak saw."""

    rate: float
    errors: list[str]
    samples: list[Sample]

    def settled(self, seconds: float) -> list[Sample]:
        """Return the samples after the settling time."""
        return [sample for sample in self.samples if sample.at_s >= min(SETTLING_S, seconds / 2)]


def measure(options: Options) -> list[Row]:
    """Measure the peak, then hold half of it; each part whose generator saw a failure counts as an error."""
    with serving(SERVER) as server:
        peak = measure_flow(server, "loadgen", options, duration_s=PEAK_S)
        rate = min(peak.drained_per_s, peak.result.requests_per_s) / 2
        soak = _soak(server, options, rate)
        wait_until_drained(server)
    _save(soak, options)
    return _rows(soak, options.seconds)


def _soak(server: Server, options: Options, rate: float) -> Soak:
    errors: list[str] = []
    samples: list[Sample] = []
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(_load_in_parts, server, options, rate, errors)
        while not loading.done() and time.monotonic() - started < options.seconds:
            time.sleep(min(SAMPLE_EVERY_S, options.seconds / 4))
            samples.append(_sample(server, started))
            print(f"  {samples[-1].at_s:6.0f} s  {samples[-1].rss_bytes / MEGA:8.1f} MB", file=sys.stderr)
        loading.result()
    return Soak(rate=rate, errors=errors, samples=samples)


def _load_in_parts(server: Server, options: Options, rate: float, errors: list[str]) -> None:
    ends = time.monotonic() + options.seconds
    while (left_s := ends - time.monotonic()) > 0:
        load = Load(
            url=server.url + WORKING.path,
            body=WORKING.body,
            duration_s=min(PART_S, left_s),
            connections=options.connections,
            rate=rate,
        )
        try:
            drive("loadgen", load)
        except ToolError as error:
            errors.append(str(error))
            time.sleep(min(1.0, max(ends - time.monotonic(), 0)))  # a server that refuses is not asked in a storm


def _sample(server: Server, started: float) -> Sample:
    seen = look(server)
    return Sample(
        at_s=seen.at_s - started,
        rss_bytes=rss_bytes(server.pid),
        enqueued=seen.enqueued,
        done=seen.done,
        failed=seen.failed,
    )


def _rows(soak: Soak, seconds: float) -> list[Row]:
    settled = soak.settled(seconds)
    if len(settled) < 2:
        raise ToolError(f"{len(soak.samples)} samples in {seconds:g} s are too few; give more --seconds")
    sizes = [sample.rss_bytes / MEGA for sample in settled]
    first, last = settled[0], settled[-1]
    done_per_s = (last.done - first.done) / (last.at_s - first.at_s)
    return [
        Row(question="soak, jobs done", ours=done_per_s, unit="jobs/s", reference=soak.rate, against="asked for"),
        Row(question="soak, resident set, lowest", ours=min(sizes), unit="MB"),
        Row(question="soak, resident set, highest", ours=max(sizes), unit="MB"),
        Row(question="soak, resident set, growth", ours=_slope(settled, sizes) * HOUR_S, unit="MB/h"),
        Row(question="soak, failed attempts", ours=last.failed, unit="jobs"),
        Row(question="soak, parts of 30 s with errors", ours=len(soak.errors), unit="parts"),
    ]


def _slope(samples: Sequence[Sample], sizes: Sequence[float]) -> float:
    return linear_regression([sample.at_s for sample in samples], sizes).slope


def _save(soak: Soak, options: Options) -> None:
    now = datetime.now(UTC)
    path = RESULTS / f"soak-{now:%Y-%m-%dT%H%M%SZ}-{current_commit()}.json"
    content = {"measured_at": now.isoformat(timespec="seconds"), "machine": machine_facts(), "options": asdict(options)}
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, **asdict(soak)}, indent=1) + "\n")
    print(f"  samples written to {path}", file=sys.stderr)
