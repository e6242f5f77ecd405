"""The client for code that blocks: scripts, Flask, WSGI Django.

Invariant: what may be sent again is, and nothing else; each method is one call of `calls`.
"""

import builtins
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Any, Final, Self, TypeVar

import httpx2

from gotaskq.client import calls
from gotaskq.client.calls import LONG_POLL_S, ApiError, Call, NoAnswerError, Retries, read_answer
from gotaskq.client.models import (
    BatchResult,
    ImportResult,
    JobEvent,
    JobInfo,
    JobPage,
    OperationInfo,
    TypeInfo,
    WorkerInfo,
)
from gotaskq.client.sse import EventReader

T = TypeVar("T")

TIMEOUT_S: Final = 10.0
RETRIES: Final = 4
LAST_EVENT_ID: Final = "last-event-id"


class Client:
    """The service at `base_url`: store jobs, look at them, wait for them, steer them.

    `token` is what `gotaskq token new` printed; `timeout` are the seconds an answer may take; a call that may be sent
    again is, up to `retries` times, after what `Retry-After` says or a growing delay. Use it with `with`. Its methods
    raise ApiError for what the service refuses, and NoAnswerError where none comes.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = TIMEOUT_S,
        retries: int = RETRIES,
        rng: Random | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout
        self._retries = Retries(retries, rng or Random())
        self._http = httpx2.Client(base_url=base_url, headers=headers, timeout=timeout, transport=transport)
        self.dlq = DeadLetters(self._run, self._read_lines)
        self.queues = Queues(self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def enqueue(self, job_type: str, payload: object = None, *, wait: float = 0.0, **options: Any) -> JobInfo:
        """Store a job and return it; with `wait`, as it is once it has ended or after so many seconds (60 at most).

        The options are the members of `POST /jobs`: queue, priority, delay, max_retries, timeout, headers …,
        and `idempotency_key`, which is made up where it is not given: so this can be sent again and is stored once.
        """
        return self._run(calls.enqueue(job_type, payload, options, wait_s=wait))

    def enqueue_many(self, jobs: list[Mapping[str, Any]], *, atomic: bool = False) -> BatchResult:
        """Store up to 1,000 jobs, each the members of `POST /jobs`; with `atomic` all or none."""
        return self._run(calls.enqueue_many(jobs, atomic=atomic))

    def get(self, job_id: str | int) -> JobInfo:
        """Return a job as it is, with its last attempts that failed."""
        return self._run(calls.get(job_id))

    def wait(self, job_id: str | int, *, timeout: float = 60.0) -> JobInfo:
        """Return a job once it has ended; raises TimeoutError after `timeout` seconds (it goes on all the same)."""
        deadline_s = time.monotonic() + timeout
        while (left_s := deadline_s - time.monotonic()) > 0:
            job = self._run(calls.get(job_id, wait_s=max(0.001, round(min(left_s, LONG_POLL_S), 3))))
            if job.has_ended:
                return job
        raise TimeoutError(f"job {job_id} has not ended within {timeout:g} s; it goes on all the same")

    def cancel(self, job_id: str | int) -> JobInfo:
        """Cancel a job that waits, ask one that runs to end."""
        return self._run(calls.act(job_id, "cancel"))

    def retry(self, job_id: str | int) -> JobInfo:
        """Run a dead job again, or one that waits for its next attempt now."""
        return self._run(calls.act(job_id, "retry"))

    def run_now(self, job_id: str | int) -> JobInfo:
        """Let a job that waits for its time run now."""
        return self._run(calls.act(job_id, "run"))

    def delete(self, job_id: str | int) -> None:
        """Delete a job; one that runs is asked to end first."""
        self._run(calls.delete(job_id))

    def explain(self, job_id: str | int) -> dict[str, Any]:
        """Return why a job has not run."""
        return self._run(calls.explain(job_id))

    def page(self, **filters: Any) -> JobPage:
        """Return some jobs, newest first; the filters are the parameters of `GET /jobs`."""
        return self._run(calls.list_jobs(filters))

    def list(self, **filters: Any) -> Iterator[JobInfo]:
        """Yield all jobs that the filters admit, page by page."""
        cursor = filters.pop("cursor", None)
        while True:
            page = self.page(**filters, cursor=cursor)
            yield from page.jobs
            cursor = page.next_cursor
            if cursor is None:
                return

    def types(self) -> "builtins.list[TypeInfo]":
        """Return the job types the service knows."""
        return self._run(calls.types())

    def workers(self) -> "builtins.list[WorkerInfo]":
        """Return the workers of every process on the service's store, as they were heard of last."""
        return self._run(calls.workers())

    def operations(self, *, limit: int = 100) -> "builtins.list[OperationInfo]":
        """Return acts on many jobs that run or ended within a day, the latest begun first."""
        return self._run(calls.operations(limit))

    def operation(self, operation_id: str) -> OperationInfo:
        """Return an act on many jobs as far as it is."""
        return self._run(calls.operation(operation_id))

    def cancel_operation(self, operation_id: str) -> OperationInfo:
        """Let an act on many jobs end before its next step."""
        return self._run(calls.cancel_operation(operation_id))

    def events(self, job_id: str | int | None = None, *, last_event_id: str = "", **filters: str) -> Iterator[JobEvent]:
        """Yield the events of a job until it has ended, or of all jobs (filters: queue, type, status) without an end.

        A stream that breaks is taken up again where it was. Raises ApiError, and NoAnswerError once it cannot be had.
        """
        path = "/events" if job_id is None else f"/jobs/{job_id}/events"
        call = Call("GET", path, calls.nothing)
        reader, failures, is_over = EventReader(), 0, False
        reader.last_id = last_event_id
        while not is_over:
            headers = {LAST_EVENT_ID: reader.last_id} if reader.last_id else {}
            asked = self._http.stream("GET", path, params=filters, headers=headers, timeout=self._stream_timeout())
            try:
                with asked as stream:
                    if stream.status_code >= 400:
                        read_answer(call, stream.status_code, stream.read())
                    failures = 0
                    for line in stream.iter_lines():
                        yield from reader.feed(line)
                    is_over = job_id is not None
            except httpx2.TransportError as error:
                failures += 1
                delay_s = self._retries.delay_s(call, failures, status=None, retry_after=None)
                if delay_s is None:
                    raise NoAnswerError(f"GET {path} was not answered: {error!r}") from error
                time.sleep(delay_s)

    def _stream_timeout(self) -> httpx2.Timeout:
        return httpx2.Timeout(self._timeout_s, read=3 * LONG_POLL_S)  # a quiet stream has a comment every 15 s

    def _read_lines(self, call: Call[Any]) -> Iterator[str]:
        """Yield the lines of an answer as they come; raises ApiError, and NoAnswerError where it breaks off."""
        try:
            with self._http.stream(call.method, call.path, params=dict(call.params)) as stream:
                if stream.status_code >= 400:
                    read_answer(call, stream.status_code, stream.read())
                splitter = calls.LineSplitter()
                for piece in stream.iter_bytes():
                    yield from splitter.feed(piece)
        except httpx2.TransportError as error:
            raise NoAnswerError(f"{call.method} {call.path} was not answered to the end: {error!r}") from error

    def _run(self, call: Call[T]) -> T:
        tried = 0
        while True:
            tried += 1
            status: int | None = None
            retry_after: str | None = None
            timeout_s = self._timeout_s + call.waits_s
            try:
                answer = self._http.request(
                    call.method,
                    call.path,
                    params=dict(call.params),
                    content=call.body,
                    headers=dict(call.headers),
                    timeout=timeout_s,
                )
            except httpx2.TransportError as error:
                failure: Exception = NoAnswerError(f"{call.method} {call.path} was not answered: {error!r}")
                failure.__cause__ = error
            else:
                try:
                    return read_answer(call, answer.status_code, answer.content)
                except ApiError as error:
                    failure, status, retry_after = error, error.status, answer.headers.get("retry-after")
            delay_s = self._retries.delay_s(call, tried, status=status, retry_after=retry_after)
            if delay_s is None:
                raise failure
            time.sleep(delay_s)


class DeadLetters:
    """The dead letters."""

    def __init__(self, run: Callable[[Call[Any]], Any], lines: Callable[[Call[Any]], Iterator[str]]) -> None:
        self._run = run
        self._lines = lines

    def list(self, **filters: Any) -> "builtins.list[JobInfo]":
        """Return dead jobs, the latest death first; the filters are the parameters of `GET /dlq`."""
        found: builtins.list[JobInfo] = self._run(calls.list_dead(filters))
        return found

    def replay(self, job_id: str | int, *, patch: Mapping[str, Any] | None = None) -> JobInfo:
        """Run a dead job again, on its own queue with a fresh count, its payload changed by a merge patch if given."""
        replayed: JobInfo = self._run(calls.replay(job_id, patch=patch))
        return replayed

    def summary(self, **filters: Any) -> dict[str, Any]:
        """Return dead jobs grouped by what they died of; the filters are the parameters of `GET /dlq/summary`."""
        found: dict[str, Any] = self._run(calls.summary(filters))
        return found

    def replay_many(self, **meant: Any) -> dict[str, Any]:
        """Run again the dead jobs that are meant: fingerprint, type, queue, since, until, q, limit, patch, dry_run.

        With `rate`, so many a second in the background: what is returned is then the operation.
        """
        done: dict[str, Any] = self._run(calls.replay_many(meant))
        return done

    def export(self, **filters: Any) -> "Iterator[str]":
        """Yield dead jobs as lines of JSON, for `import_`; the filters are those of `list`, and `fingerprint`."""
        return self._lines(calls.export_dead(filters))

    def import_(self, lines: "Iterable[str | bytes]") -> ImportResult:
        """Run dead jobs again that an export has, each once however often; a long file is sent in parts."""
        result = ImportResult()
        for some in calls.in_parts(lines):
            result = calls.together(result, self._run(calls.import_dead(some)))
        return result

    def delete(self, job_id: str | int) -> None:
        """Delete a dead job."""
        self._run(calls.delete_dead(job_id))


class Queues:
    """The queues."""

    def __init__(self, run: Callable[[Call[Any]], Any]) -> None:
        self._run = run

    def names(self) -> "builtins.list[str]":
        """Return the names of all queues, sorted."""
        found: builtins.list[str] = self._run(calls.queue_names())
        return found

    def create(self, name: str) -> None:
        """Make a queue."""
        self._run(calls.create_queue(name))

    def stats(self, name: str) -> dict[str, Any]:
        """Return a queue's numbers."""
        stats: dict[str, Any] = self._run(calls.queue_stats(name))
        return stats

    def pause(self, name: str) -> dict[str, Any]:
        """Give out no job of it until it is resumed."""
        return self._steer(name, "pause")

    def resume(self, name: str) -> dict[str, Any]:
        """Give out its jobs again."""
        return self._steer(name, "resume")

    def purge(self, name: str) -> dict[str, Any]:
        """Delete the jobs that wait in it."""
        return self._steer(name, "purge")

    def drain(self, name: str) -> dict[str, Any]:
        """Let it take no new job; those that are there are run."""
        return self._steer(name, "drain")

    def _steer(self, name: str, action: str) -> dict[str, Any]:
        stats: dict[str, Any] = self._run(calls.steer_queue(name, action))
        return stats
