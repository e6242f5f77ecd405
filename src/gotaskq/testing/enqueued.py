"""Assertions about what an app has enqueued, with messages that show what was enqueued instead."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from gotaskq.app import TaskQ
from gotaskq.backend import JobQuery
from gotaskq.job import Job

SHOWN: Final = 20  # jobs a message lists
SHOWN_CHARACTERS: Final = 200  # of one payload
WHATEVER: Final = object()  # a payload nobody asked about


class HasType(Protocol):
    """What names a job type by an attribute of its own, as a task does."""

    @property
    def job_type(self) -> str:
        """The job type."""
        ...


TypeOrTask: TypeAlias = str | HasType


async def assert_enqueued(
    app: TaskQ,
    type_or_task: TypeOrTask,
    *,
    queue: str | None = None,
    priority: int | None = None,
    payload: object = WHATEVER,
    count: int | None = None,
    **members: Any,
) -> list[Job]:
    """Assert that a job of this type was enqueued, and return those that match, oldest first.

    `payload`, or the keywords that are its members, must be in the job's payload, which may hold more, at any depth.
    `count` is how many jobs must match; at least one without it.
    """
    wanted = _Wanted(type_or_task, queue, priority, payload, members)
    jobs = await app.stand_in.jobs(JobQuery())
    found = [job for job in jobs if not wanted.misses(job)]
    if len(found) == count or (count is None and found):
        return found
    how_many = "no" if count is None else f"{len(found)}, not {count},"
    raise AssertionError(f"{how_many} {wanted} was enqueued{_instead(jobs, wanted)}")


async def refute_enqueued(
    app: TaskQ,
    type_or_task: TypeOrTask,
    *,
    queue: str | None = None,
    priority: int | None = None,
    payload: object = WHATEVER,
    **members: Any,
) -> None:
    """Assert that no job was enqueued that `assert_enqueued` would find."""
    wanted = _Wanted(type_or_task, queue, priority, payload, members)
    jobs = await app.stand_in.jobs(JobQuery())
    found = [job for job in jobs if not wanted.misses(job)]
    if found:
        raise AssertionError(f"{len(found)} {wanted} was enqueued:{_listing(found)}")


def type_of(type_or_task: TypeOrTask) -> str:
    """Return the job type that is meant; raises TypeError for what names none."""
    name = type_or_task
    for attribute in ("job_type", "type"):
        if not isinstance(name, str):
            name = getattr(type_or_task, attribute, type_or_task)
    if not isinstance(name, str):
        raise TypeError(f"{type_or_task!r} is neither a job type nor a task; pass the type as a str")
    return name


class _Wanted:
    """A job as it is asked for."""

    def __init__(
        self,
        type_or_task: TypeOrTask,
        queue: str | None,
        priority: int | None,
        payload: object,
        members: Mapping[str, Any],
    ) -> None:
        if members and payload is not WHATEVER:
            raise TypeError("pass the payload as `payload=` or its members as keywords, not both")
        self._type = type_of(type_or_task)
        self._queue = queue
        self._priority = priority
        self._payload = dict(members) if members else payload

    def __str__(self) -> str:
        words = [f"job of type {self._type!r}"]
        words += [] if self._queue is None else [f"on queue {self._queue!r}"]
        words += [] if self._priority is None else [f"of priority {self._priority}"]
        words += [] if self._payload is WHATEVER else [f"with {self._payload!r} in its payload"]
        return " ".join(words)

    def misses(self, job: Job) -> str:
        """Return in what a job is not the wanted one; nothing where it is."""
        if job.type != self._type:
            return f"type is {job.type!r}"
        if self._queue not in (None, job.queue):
            return f"queue is {job.queue!r}"
        if self._priority not in (None, job.priority):
            return f"priority is {job.priority}"
        return "" if self._payload is WHATEVER else _difference(self._payload, job.payload, "payload")


def _difference(wanted: object, found: object, place: str) -> str:
    """Return where `wanted` is not in `found`: members may be more, but lists are as long and values are equal."""
    if isinstance(wanted, Mapping) and isinstance(found, dict):
        for name, value in wanted.items():
            if name not in found:
                return f"{place} has no {name!r}"
            if difference := _difference(value, found[name], f"{place}.{name}"):
                return difference
        return ""
    if isinstance(wanted, list | tuple) and isinstance(found, list) and len(wanted) == len(found):
        differences = (_difference(*pair, f"{place}[{at}]") for at, pair in enumerate(zip(wanted, found, strict=True)))
        return next((difference for difference in differences if difference), "")
    return "" if wanted == found or _as_json(wanted) == found else f"{place} is {found!r}"


def _as_json(value: object) -> object:
    """Return a value as it comes out of a payload: a date as text; what has no such form (`mock.ANY`) as it is."""
    try:
        return msgspec.to_builtins(value, str_keys=True)
    except (TypeError, ValueError):
        return value


def _instead(jobs: list[Job], wanted: _Wanted) -> str:
    return f"; these were:{_listing(jobs, wanted)}" if jobs else "; nothing was"


def _listing(jobs: Iterable[Job], wanted: _Wanted | None = None) -> str:
    lines = [_line(job, wanted.misses(job) if wanted else "") for job in jobs]
    more = [] if len(lines) <= SHOWN else [f"… and {len(lines) - SHOWN} more"]
    return "".join(f"\n  {line}" for line in [*lines[:SHOWN], *more])


def _line(job: Job, misses: str) -> str:
    payload = job.payload_json.decode(errors="replace")
    if len(payload) > SHOWN_CHARACTERS:
        payload = f"{payload[:SHOWN_CHARACTERS]}…"
    line = f"{job.type} on {job.queue}, priority {job.priority}, {job.status.value}: {payload}"
    return f"{line}  ({misses})" if misses else line
