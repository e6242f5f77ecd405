"""Drives an HTTP server with one request, over and over, and reports what came back and how soon.

For the benchmarks (`run_load`), and by hand where wrk and hey are missing:
`python benchmarks/loadgen.py URL -n 10000 -c 100`. Needs the standard library only; uvloop makes it faster.
Invariant: each request taken from the budget ends as one answer or one error, so the counts can be trusted.
"""

import argparse
import asyncio
import json
import re
import signal
import sys
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from random import random
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop  # type: ignore[assignment]

END_OF_HEAD = b"\r\n\r\n"
STATUS_LINE = re.compile(rb"HTTP/1\.[01] [2-5]\d\d")  # 1xx comes only to who sent Expect or Upgrade
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
COMMON_CONTENT_LENGTH = b"\r\ncontent-length: "  # finding the usual spelling costs a third of the search for any
STATUSES_WITHOUT_BODY = (b"204", b"304")
ENDLESS = sys.maxsize  # the budget of a run that the clock ends
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


class BadResponseError(ValueError):
    """The server's bytes are not an HTTP/1.x response with a Content-Length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a run saw; latencies run from writing a request to having read its whole answer."""

    url: str
    concurrency: int
    pipeline: int
    answered: int
    duration_s: float
    requests_per_s: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    status_counts: dict[int, int]
    errors: dict[str, int]

    @property
    def error_count(self) -> int:
        """How many requests got no usable answer."""
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    url: str
    host: str
    port: int
    wire: bytes
    expects_body: bool


@dataclass(slots=True, kw_only=True)
class _Run:
    """The budget and the tallies that all connections of one run share."""

    request: _Request
    left: int
    pipeline: int
    timeout_s: float
    interval_s: float = 0.0  # between two requests of a connection; 0 sends as soon as it can
    last_answer: float = 0.0
    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    answers: Counter[bytes] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    open: "set[_Connection]" = field(default_factory=set)

    def stop(self) -> None:
        """Send nothing new; what is under way may still be answered."""
        self.left = 0


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most `pipeline` requests under way."""

    __slots__ = ("_buffer", "_due", "_reusable", "_run", "_sent_at", "_transport", "_wanted", "_why_lost", "closed")

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._sent_at: deque[float] = deque()
        self._buffer = bytearray()
        self._wanted = 0
        self._reusable = True
        self._why_lost = "connection lost"
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; sending waits for `send`."""
        # A cast, not a check: uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        # Connections of a paced run take turns; otherwise all would send in the same instant.
        self._due = perf_counter() + random() * self._run.interval_s
        self._run.open.add(self)

    def data_received(self, data: bytes) -> None:
        """Count the answers that are complete, then send as many new requests."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        try:
            consumed = self._take_answers(data)
        except ValueError as error:  # also from a Content-Length that is no number
            self.fail(str(error))
            return
        if consumed < len(data):
            self._buffer += data[consumed:]
            self._wanted -= consumed
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count what was under way as lost."""
        run = self._run
        run.open.discard(self)
        if self._sent_at:
            run.errors[f"{self._why_lost}: {exc}" if exc else self._why_lost] += len(self._sent_at)
        self.closed.set()

    def send(self) -> None:
        """Fill the pipeline from the budget; close when there is nothing to send and nothing to wait for."""
        run = self._run
        sent_at = self._sent_at
        if run.interval_s and run.left and not self._is_due(run.interval_s):
            return
        count = min(run.pipeline - len(sent_at), run.left)
        if count > 0 and self._reusable:
            run.left -= count
            self._transport.write(run.request.wire * count)
            now = perf_counter()
            for _ in range(count):
                sent_at.append(now)
        elif not sent_at or not self._reusable:
            self._transport.close()

    def _is_due(self, interval_s: float) -> bool:
        """Say whether a paced run may send here now; if not, it is asked again. Up to a second is caught up."""
        if self._sent_at or self._transport.is_closing():
            return False
        now = perf_counter()
        if now < self._due:
            asyncio.get_running_loop().call_later(min(self._due - now, 0.5), self.send)
            return False
        self._due = max(self._due, now - 1) + interval_s
        return True

    def fail(self, reason: str) -> None:
        """Drop the connection; its requests under way count as errors for this reason."""
        self._why_lost = reason
        self._transport.abort()

    def _take_answers(self, data: bytes) -> int:
        """Tally the complete answers in `data`; return the offset of the first incomplete one."""
        run = self._run
        answers = run.answers
        sent_at = self._sent_at
        now = run.last_answer = perf_counter()
        start, size = 0, len(data)
        while start < size:
            head_end = data.find(END_OF_HEAD, start)
            if head_end < 0:
                self._wanted = 0
                break
            status = data[start + 9 : start + 12]
            if status not in answers or not data.startswith(b"HTTP/1.", start):
                begin = data[start : start + 12]
                if not STATUS_LINE.fullmatch(begin):
                    raise BadResponseError(f"cannot understand an answer that starts with {begin!r}")
            at = data.find(COMMON_CONTENT_LENGTH, start, head_end) + 18
            if at > 17 and run.request.expects_body:
                end = head_end + 4 + int(data[at : data.find(b"\r", at)])
            else:
                end = head_end + 4 + self._body_length(data[start : head_end + 2])
            if end > size:
                self._wanted = end
                break
            if data.find(b"onnection: close", start, head_end) >= 0:
                self._reusable = False
            if not sent_at:
                raise BadResponseError("answer without a request")
            run.latencies_s.append(now - sent_at.popleft())
            answers[status] += 1
            start = end
        return start

    def _body_length(self, head: bytes) -> int:
        if not self._run.request.expects_body or head[9:12] in STATUSES_WITHOUT_BODY:
            return 0
        found = CONTENT_LENGTH.search(head)
        if found is None:
            raise BadResponseError("answer without content-length")
        return int(found[1])


def run_load(
    url: str,
    *,
    requests: int = 200,
    duration_s: float | None = None,
    concurrency: int = 50,
    pipeline: int = 1,
    method: str = "GET",
    body: bytes = b"",
    content_type: str | None = None,
    timeout_s: float = 20.0,
    rate: float | None = None,
) -> LoadReport:
    """Send `requests` requests, or for `duration_s` seconds when that is given, at most `rate` a second, and report.

    Raises OSError when the first connections cannot be made. A server silent for `timeout_s` ends the run.
    """
    if min(requests, concurrency, pipeline) < 1:
        raise ValueError(f"{requests=}, {concurrency=} and {pipeline=} must each be at least 1")
    if rate is not None and (rate < 1 or pipeline > 1):
        raise ValueError(f"{rate=} must be at least 1, and goes with a pipeline of 1 only")
    requests = requests if duration_s is None else ENDLESS
    concurrency = min(concurrency, requests)
    request = _build_request(url, method=method, body=body, content_type=content_type)
    interval_s = concurrency / rate if rate else 0.0
    run = _Run(request=request, left=requests, pipeline=pipeline, timeout_s=timeout_s, interval_s=interval_s)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        sending_s = runner.run(_drive(run, connections=concurrency, duration_s=duration_s))
    return _report(run, concurrency=concurrency, duration_s=sending_s)


def _build_request(url: str, *, method: str, body: bytes, content_type: str | None) -> _Request:
    """Prepare the bytes once, so that sending a request is one write."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("only http://host[:port]/path is supported")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"Content-Type: {content_type}"] if content_type is not None else []
    if body or method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {len(body)}")
    wire = "\r\n".join(lines).encode("latin-1") + END_OF_HEAD + body
    return _Request(url=url, host=parts.hostname, port=parts.port or 80, wire=wire, expects_body=method != "HEAD")


async def _drive(run: _Run, *, connections: int, duration_s: float | None) -> float:
    """Connect everything, then let go at once; return the seconds until the last answer."""
    with suppress(ValueError, RuntimeError, NotImplementedError):  # in a thread, or on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, run.stop)  # report what was done so far
    first = [await _connect(run) for _ in range(connections)]
    async with asyncio.TaskGroup() as group:
        watchdog = group.create_task(_give_up_when_stalled(run))
        started = run.last_answer = perf_counter()
        if duration_s is not None:
            asyncio.get_running_loop().call_later(duration_s, run.stop)
        async with asyncio.TaskGroup() as clients:
            for connection in first:
                clients.create_task(_keep_sending(run, connection))
        watchdog.cancel()
    return run.last_answer - started


async def _connect(run: _Run) -> _Connection:
    create = asyncio.get_running_loop().create_connection
    async with asyncio.timeout(run.timeout_s):
        return (await create(lambda: _Connection(run), run.request.host, run.request.port))[1]


async def _keep_sending(run: _Run, connection: _Connection) -> None:
    """Use the connection until the budget is spent; open a new one whenever the server closes it."""
    connection.send()
    await connection.closed.wait()
    while run.left > 0:
        try:
            connection = await _connect(run)
        except OSError as error:
            # Not sent, but asked for: taking it from the budget keeps the counts honest and the loop finite.
            run.left -= 1
            run.errors[f"cannot connect: {error.strerror or error}"] += 1
            await asyncio.sleep(0.01)
            continue
        connection.send()
        await connection.closed.wait()


async def _give_up_when_stalled(run: _Run) -> None:
    while True:
        await asyncio.sleep(min(run.timeout_s, 0.5))
        if perf_counter() - run.last_answer > run.timeout_s:
            run.stop()
            for connection in tuple(run.open):
                connection.fail(f"no answer for {run.timeout_s:g} s")


def _report(run: _Run, *, concurrency: int, duration_s: float) -> LoadReport:
    latencies_ms = sorted(latency * 1000 for latency in run.latencies_s)
    answered = len(latencies_ms)
    return LoadReport(
        url=run.request.url,
        concurrency=concurrency,
        pipeline=run.pipeline,
        answered=answered,
        duration_s=duration_s,
        requests_per_s=answered / duration_s if duration_s > 0 else 0.0,
        mean_ms=sum(latencies_ms) / answered if answered else 0.0,
        p50_ms=percentile(latencies_ms, 50),
        p90_ms=percentile(latencies_ms, 90),
        p99_ms=percentile(latencies_ms, 99),
        max_ms=latencies_ms[-1] if answered else 0.0,
        status_counts={int(status): count for status, count in sorted(run.answers.items())},
        errors=dict(run.errors),
    )


def percentile(ascending: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of all values do not exceed; 0.0 for no values."""
    rank = max(-(-len(ascending) * percent // 100), 1)  # rounded up
    return ascending[int(rank) - 1] if ascending else 0.0


def format_report(report: LoadReport) -> str:
    """Write the report for people, in the words hey uses, so that one parser reads both."""
    lines = [
        "Summary:",
        f"  Total:\t{report.duration_s:.4f} secs",
        f"  Slowest:\t{report.max_ms / 1000:.4f} secs",
        f"  Average:\t{report.mean_ms / 1000:.4f} secs",
        f"  Requests/sec:\t{report.requests_per_s:.4f}",
        "",
        "Latency distribution:",
        *(
            f"  {p}% in {ms / 1000:.4f} secs"
            for p, ms in ((50, report.p50_ms), (90, report.p90_ms), (99, report.p99_ms))
        ),
        "",
        "Status code distribution:",
        *(f"  [{status}]\t{count} responses" for status, count in report.status_counts.items()),
    ]
    if report.errors:
        lines += ["", "Error distribution:", *(f"  [{n}]\t{why}" for why, n in report.errors.items())]
    return "\n".join(lines)


def _seconds(text: str) -> float:
    found = DURATION.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 500ms, 10s or 2m")
    return float(found[1]) * SECONDS_PER_UNIT[found[2]]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="loadgen", description="Load an HTTP server and report, as hey does.")
    add = parser.add_argument
    add("url", help="http://host:port/path")
    add("-n", dest="requests", type=int, default=200, help="requests to send (200)")
    add("-c", dest="concurrency", type=int, default=50, help="connections (50)")
    add("-z", dest="duration_s", type=_seconds, help="send for this long instead: 500ms, 10s, 2m")
    add("-m", dest="method", default="GET", help="method (GET)")
    add("-d", dest="body", type=str.encode, default=b"", help="request body")
    add("-T", dest="content_type", help="content type of the body")
    add("-t", dest="timeout_s", type=_seconds, default=20.0, help="the longest silence to bear (20s)")
    add("--pipeline", type=int, default=1, help="requests under way per connection (1)")
    add("--rate", type=float, help="send at most so many requests a second, over all connections")
    add("--json", action="store_true", help="print one line of JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 if each request was answered, 1 if not, 2 if nothing could be sent."""
    options = vars(_parse(argv))
    as_json = options.pop("json")
    try:
        report = run_load(**options)
    except (OSError, ValueError) as error:
        print(f"loadgen: cannot load {options['url']}: {error!r}", file=sys.stderr)
        return 2
    print(json.dumps(asdict(report)) if as_json else format_report(report))
    return 1 if report.error_count else 0


if __name__ == "__main__":
    sys.exit(main())
