"""Calls of the API without a connection: what is sent, how an answer is read, and when a call is sent again.

Shared by both clients, which only carry the bytes.
Invariant: a call that might store something twice is sent again only with a key under which the service knows it again.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import msgspec

from gotaskq.client.models import (
    UNKNOWN,
    BatchResult,
    ImportResult,
    JobInfo,
    JobPage,
    OperationInfo,
    TypeInfo,
    WorkerInfo,
)
from gotaskq.errors import GotaskqError, InvalidRequestError

T = TypeVar("T")

FIRST_DELAY_S: Final = 0.1
MAX_DELAY_S: Final = 5.0
MAX_RETRY_AFTER_S: Final = 30.0
PASSING: Final = frozenset({429, 502, 503, 504})
LONG_POLL_S: Final = 20.0
MAX_LINES: Final = 1_000
MAX_IMPORT_BYTES: Final = 7 << 20  # the service takes 8
JSON: Final = {"content-type": "application/json"}

Params = Mapping[str, str]


class ApiError(GotaskqError):
    """The service refused a call: its `status`, its words, the `field` to blame, and the id it is logged under.

    `unknown_ids` are those of the jobs of which the service does not know whether they were stored: ask for them later.
    """

    def __init__(
        self,
        status: int,
        error: str,
        *,
        field: str | None = None,
        request_id: str | None = None,
        unknown_ids: Sequence[str] = (),
    ) -> None:
        super().__init__(f"{status}: {error}" + (f" ({field})" if field else ""))
        self.status = status
        self.error = error
        self.field = field
        self.request_id = request_id
        self.unknown_ids = tuple(unknown_ids)


class NoAnswerError(GotaskqError):
    """The service did not answer, however often it was asked; whether it did what was asked is not known."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[bytes], T]
    params: Params = field(default_factory=dict)
    body: bytes | None = None
    headers: Params = field(default_factory=dict)
    may_repeat: bool = True
    waits_s: float = 0.0  # the service may take so much longer to answer


class _Refusal(msgspec.Struct):
    error: str = ""
    field: str | None = None
    request_id: str | None = None
    accepted: str | None = None
    id: str | None = None  # of one job, `ids` of the jobs of a batch
    ids: list[str] = []

    @property
    def unknown_ids(self) -> list[str]:
        if self.accepted != UNKNOWN:
            return []
        return [*self.ids, self.id] if self.id is not None else self.ids


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and after how long a call is sent again."""

    count: int
    rng: Random

    def delay_s(self, call: Call[Any], tried: int, *, status: int | None, retry_after: str | None) -> float | None:
        """Return how long to wait before the next try, after `tried` of them; None: there is none.

        `status` is None where there was no answer. Full jitter: those who failed together do not come back together.
        """
        if tried > self.count or not call.may_repeat or (status is not None and status not in PASSING):
            return None
        if retry_after is not None and retry_after.isdecimal():
            return min(float(retry_after), MAX_RETRY_AFTER_S) + self.rng.uniform(0, FIRST_DELAY_S)
        return self.rng.uniform(0, min(FIRST_DELAY_S * 2**tried, MAX_DELAY_S))


def read_answer(call: Call[T], status: int, body: bytes) -> T:
    """Return what a call was answered; raises ApiError."""
    if status < 400:
        return call.read(body)
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except msgspec.MsgspecError:  # a proxy's page, perhaps
        refusal = _Refusal(body[:200].decode(errors="replace"))
    raise ApiError(
        status,
        refusal.error,
        field=refusal.field,
        request_id=refusal.request_id,
        unknown_ids=refusal.unknown_ids,
    )


def nothing(_: bytes) -> None:
    """Read an answer that says no more than that it was done."""


read_job = msgspec.json.Decoder(JobInfo).decode
read_page = msgspec.json.Decoder(JobPage).decode
read_batch = msgspec.json.Decoder(BatchResult).decode
read_names = msgspec.json.Decoder(list[str]).decode
read_object = msgspec.json.Decoder(dict[str, Any]).decode
_read_imported = msgspec.json.Decoder(ImportResult).decode
_read_jobs = msgspec.json.Decoder(list[JobInfo]).decode


class _Types(msgspec.Struct):
    types: list[TypeInfo]


_read_types = msgspec.json.Decoder(_Types).decode


def enqueue(job_type: str, payload: object, options: Mapping[str, Any], *, wait_s: float) -> Call[JobInfo]:
    """`POST /jobs`, under a key of its own unless one is given, so that it can be sent again."""
    given = {name: value for name, value in options.items() if value is not None}
    key = str(given.pop("idempotency_key", None) or secrets.token_urlsafe(18))
    return Call(
        "POST",
        "/jobs",
        read_job,
        params={"wait": f"{wait_s:g}"} if wait_s else {},
        body=_json({"type": job_type, "payload": payload, **given}),
        headers={"content-type": "application/json", "idempotency-key": key},
        waits_s=wait_s,
    )


def enqueue_many(jobs: "list[Mapping[str, Any]]", *, atomic: bool) -> Call[BatchResult]:
    """`POST /jobs/batch`, each job under a key of its own."""
    keyed = [{"idempotency_key": secrets.token_urlsafe(18), **job} for job in jobs]
    body = _json({"jobs": keyed, **({"atomic": True} if atomic else {})})
    return Call("POST", "/jobs/batch", read_batch, body=body, headers={"content-type": "application/json"})


def get(job_id: str | int, *, wait_s: float = 0.0) -> Call[JobInfo]:
    """`GET /jobs/{id}`."""
    params = {"wait": f"{wait_s:g}"} if wait_s else {}
    return Call("GET", f"/jobs/{_part(job_id)}", read_job, params=params, waits_s=wait_s)


def act(job_id: str | int, action: str) -> Call[JobInfo]:
    """`POST /jobs/{id}/{action}`: cancel, retry or run."""
    return Call("POST", f"/jobs/{_part(job_id)}/{action}", read_job)


def delete(job_id: str | int) -> Call[None]:
    """`DELETE /jobs/{id}`."""
    return Call("DELETE", f"/jobs/{_part(job_id)}", nothing)


def list_jobs(filters: Mapping[str, Any]) -> Call[JobPage]:
    """`GET /jobs`."""
    return Call("GET", "/jobs", read_page, params=_params(filters))


def explain(job_id: str | int) -> Call[dict[str, Any]]:
    """`GET /jobs/{id}/explain`."""
    return Call("GET", f"/jobs/{_part(job_id)}/explain", read_object)


def list_dead(filters: Mapping[str, Any]) -> Call[list[JobInfo]]:
    """`GET /dlq`."""
    return Call("GET", "/dlq", _read_jobs, params=_params(filters))


def replay(job_id: str | int, *, patch: Mapping[str, Any] | None = None) -> Call[JobInfo]:
    """`POST /dlq/{id}/replay`; sent once: a repeat would find it replayed."""
    path = f"/dlq/{_part(job_id)}/replay"
    if patch is None:
        return Call("POST", path, read_job, may_repeat=False)
    return Call("POST", path, read_job, body=_json({"patch": patch}), headers=JSON, may_repeat=False)


def summary(filters: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """`GET /dlq/summary`."""
    return Call("GET", "/dlq/summary", read_object, params=_params(filters))


def replay_many(meant: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """`POST /dlq/replay`; sent once, as its answer counts what this call did."""
    return Call(
        "POST",
        "/dlq/replay",
        read_object,
        body=_json({name: value for name, value in meant.items() if value is not None}),
        headers={"content-type": "application/json"},
        may_repeat=False,
    )


def export_dead(filters: Mapping[str, Any]) -> Call[None]:
    """`GET /dlq/export`, whose answer is read line by line."""
    return Call("GET", "/dlq/export", nothing, params=_params(filters))


def import_dead(some: Sequence[tuple[int, bytes]]) -> Call[ImportResult]:
    """`POST /dlq/import` of lines with their numbers; sent again it doubles nothing."""

    def read(body: bytes) -> ImportResult:
        result = _read_imported(body)
        errors = [msgspec.structs.replace(error, line=some[error.line - 1][0]) for error in result.errors]
        return msgspec.structs.replace(result, errors=errors)

    body = b"".join(line + b"\n" for _, line in some)
    return Call("POST", "/dlq/import", read, body=body, headers={"content-type": "application/x-ndjson"})


def in_parts(lines: Iterable[str | bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """Yield lines with their numbers, as many at a time as one import takes; those that are empty are left out."""
    some: list[tuple[int, bytes]] = []
    size = 0
    for number, text in enumerate(lines, start=1):
        line = (text.encode() if isinstance(text, str) else text).strip()
        if some and (len(some) == MAX_LINES or size + len(line) > MAX_IMPORT_BYTES):
            yield some
            some, size = [], 0
        if line:
            some.append((number, line))
            size += len(line) + 1
    if some:
        yield some


class LineSplitter:
    """Takes an answer in pieces and gives its lines; ended by newlines alone, as a string may hold what ends others."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[str]:
        """Take a piece and return the lines that it ends."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line.decode() for line in lines]


def together(one: ImportResult, other: ImportResult) -> ImportResult:
    """Return what two parts of a file came to."""
    return ImportResult(
        lines=one.lines + other.lines,
        replayed=one.replayed + other.replayed,
        stored=one.stored + other.stored,
        already=one.already + other.already,
        conflicts=one.conflicts + other.conflicts,
        errors=[*one.errors, *other.errors],
    )


def delete_dead(job_id: str | int) -> Call[None]:
    """`DELETE /dlq/{id}`; sent once: a repeat would not find it."""
    return Call("DELETE", f"/dlq/{_part(job_id)}", nothing, may_repeat=False)


def queue_names() -> Call[list[str]]:
    """`GET /queue`."""
    return Call("GET", "/queue", read_names)


def create_queue(name: str) -> Call[None]:
    """`POST /queue/{name}`; sent once: a repeat would find it made."""
    return Call("POST", f"/queue/{_part(name)}", nothing, may_repeat=False)


def queue_stats(name: str) -> Call[dict[str, Any]]:
    """`GET /queues/{name}/stats`."""
    return Call("GET", f"/queues/{_part(name)}/stats", read_object)


def steer_queue(name: str, action: str) -> Call[dict[str, Any]]:
    """`POST /queues/{name}/{action}`: pause, resume, purge or drain."""
    return Call("POST", f"/queues/{_part(name)}/{action}", read_object)


def types() -> Call[list[TypeInfo]]:
    """`GET /types`."""
    return Call("GET", "/types", lambda body: _read_types(body).types)


class _Workers(msgspec.Struct):
    workers: list[WorkerInfo]


class _Operations(msgspec.Struct):
    operations: list[OperationInfo]


_read_workers = msgspec.json.Decoder(_Workers).decode
_read_operations = msgspec.json.Decoder(_Operations).decode
_read_operation = msgspec.json.Decoder(OperationInfo).decode


def workers() -> Call[list[WorkerInfo]]:
    """`GET /workers`."""
    return Call("GET", "/workers", lambda body: _read_workers(body).workers)


def operations(limit: int) -> Call[list[OperationInfo]]:
    """`GET /operations`."""
    return Call("GET", "/operations", lambda body: _read_operations(body).operations, params={"limit": str(limit)})


def operation(operation_id: str) -> Call[OperationInfo]:
    """`GET /operations/{id}`."""
    return Call("GET", f"/operations/{_part(operation_id)}", _read_operation)


def cancel_operation(operation_id: str) -> Call[OperationInfo]:
    """`POST /operations/{id}/cancel`."""
    return Call("POST", f"/operations/{_part(operation_id)}/cancel", _read_operation)


def _params(filters: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in filters.items() if value is not None}


def _json(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise InvalidRequestError(f"payload cannot be JSON: {error}", field="payload") from error


def _part(value: str | int) -> str:
    return quote(str(value), safe="")
