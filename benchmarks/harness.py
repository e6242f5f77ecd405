"""Starts servers, drives them in turns, and takes medians, so that noise on the machine hits all alike.

Used by the question modules. The servers of one run live side by side, but only one at a time has work.
Invariant: a server started here is dead when `running` is left, whatever happened inside.
"""

import http.client
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks.processes import HOST, OUTPUT_SHOWN, free_port, started
from benchmarks.report import REPOSITORY, format_figure
from benchmarks.tools import Load, LoadResult, ToolError, available_tools, drive

WORKLOAD_WAIT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How thoroughly to measure. wrk rounds `duration_s` up to whole seconds; `seconds` is for the soak only."""

    runs: int = 3
    is_quick: bool = False
    redis: str = "valkey"  # which server the questions about Redis start
    seconds: float = 600.0
    duration_s: float = 3.0
    warmup_s: float = 1.0
    connections: int = 100
    hey_connections: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """A server to measure: how to start it (`{port}` in an argument is replaced) and what to send to it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    path: str = "/jobs"
    body: str = '{"type":"logger","payload":{"msg":"hello"},"priority":5,"delay":0,"max_retries":5}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs: where it answers, and its process."""

    url: str
    port: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one tool saw of one server over all runs; the properties are medians."""

    runs: tuple[LoadResult, ...]

    @property
    def requests_per_s(self) -> float:
        """Answers per second."""
        return median(run.requests_per_s for run in self.runs)

    @property
    def p50_ms(self) -> float:
        """Latency half of the requests stayed under."""
        return median(run.p50_ms for run in self.runs)

    @property
    def p99_ms(self) -> float:
        """Latency all but one in a hundred requests stayed under."""
        return median(run.p99_ms for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The figures of every server by every tool, from one interleaved run."""

    tools: Sequence[str]
    figures: Mapping[tuple[str, str], Figures]

    def of(self, server: ServerSpec, tool: str) -> Figures:
        """Return what `tool` saw of `server`."""
        return self.figures[server.name, tool]


def compare(servers: Sequence[ServerSpec], options: Options) -> Comparison:
    """Start all servers afresh for each run, warm them up, and let every tool go round them."""
    tools = available_tools()
    results: defaultdict[tuple[str, str], list[LoadResult]] = defaultdict(list)
    for number in range(1, options.runs + 1):
        with ExitStack() as opened:
            urls = [(server, opened.enter_context(running(server))) for server in servers]
            for server, url in urls:
                drive_at("loadgen", server, url, options, duration_s=options.warmup_s)
            for tool in tools:
                for server, url in urls:
                    result = drive_at(tool, server, url, options, duration_s=options.duration_s)
                    results[server.name, tool].append(result)
                    print(f"  run {number}/{options.runs}  {server.name:<22} {_in_words(result)}", file=sys.stderr)
    return Comparison(tools=tools, figures={key: Figures(runs=tuple(runs)) for key, runs in results.items()})


def drive_at(tool: str, server: ServerSpec, base_url: str, options: Options, *, duration_s: float) -> LoadResult:
    """Drive a server that runs, with the body of its spec."""
    load = Load(
        url=base_url + server.path,
        body=server.body,
        duration_s=duration_s,
        connections=options.connections,
        hey_connections=options.hey_connections,
    )
    try:
        return drive(tool, load)
    except ToolError as error:
        raise ToolError(f"{server.name}: {error}") from error


def answers(tool: str, options: Options, spec: ServerSpec) -> dict[str, float]:
    """Start a server, warm it up, and return what the tool saw of it: answers a second, and the latency."""
    with running(spec) as url:
        drive_at("loadgen", spec, url, options, duration_s=options.warmup_s)
        result = drive_at(tool, spec, url, options, duration_s=options.duration_s)
    print(f"  {spec.name:<22} {_in_words(result)}", file=sys.stderr)
    return {"answers_per_s": result.requests_per_s, "p50_ms": result.p50_ms, "p99_ms": result.p99_ms}


def figures_of(workload: str, function: str, **arguments: object) -> dict[str, float]:
    """Run a workload in a process of its own and return its figures; raises ToolError."""
    argv = [sys.executable, "-m", "benchmarks.workloads", workload, function, json.dumps(arguments)]
    try:
        ended = subprocess.run(
            argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=WORKLOAD_WAIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{workload}.{function} did not end within {WORKLOAD_WAIT_S:g} s and was killed") from error
    if ended.returncode:
        raise ToolError(f"{workload}.{function} failed: {ended.stderr.strip()[-OUTPUT_SHOWN:]}")
    figures: dict[str, float] = json.loads(ended.stdout)
    shown = "   ".join(f"{name} {format_figure(figure)}" for name, figure in figures.items())
    print(f"  {workload}.{function:<20} {shown}", file=sys.stderr)
    return figures


def telling_tool() -> str:
    """Return the most telling load generator here: wrk, else our own; hey is the limit before the server is."""
    return "wrk" if "wrk" in available_tools() else "loadgen"


def _in_words(result: LoadResult) -> str:
    rate = f"{result.tool:<8} {result.requests_per_s:>9,.0f} req/s"
    return f"{rate}   p50 {result.p50_ms:.1f} ms   p99 {result.p99_ms:.1f} ms"


@contextmanager
def running(server: ServerSpec) -> Iterator[str]:
    """Start the server on a free port, wait until it answers, give its base URL, and end it afterwards."""
    with serving(server) as served:
        yield served.url


@contextmanager
def serving(server: ServerSpec) -> Iterator[Server]:
    """Do as `running`, for those who need the process too."""
    port = free_port()
    argv = [argument.replace("{port}", str(port)) for argument in server.argv]
    with started(server.name, argv, server.env) as process:
        process.wait_until(lambda: _answers(port), what=f"answered on port {port}")
        yield Server(url=f"http://{HOST}:{port}", port=port, pid=process.pid)


def _answers(port: int) -> bool:
    """Ask for anything: an answer of any status means that the server is up."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
