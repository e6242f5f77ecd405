"""What the service answers, as the client returns it. Members a newer service adds are passed over."""

from datetime import datetime
from typing import Any, Final

import msgspec

UNKNOWN: Final = "unknown"  # what is said of a job of which nobody knows whether it was stored
ENDED: Final = frozenset({"DONE", "DEAD", "CANCELLED"})


class Progress(msgspec.Struct, frozen=True):
    """How far a running job is."""

    fraction: float
    note: str = ""


class AttemptInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed."""

    attempt: int
    status: str
    error: str = ""
    traceback: str = ""
    worker: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the service shows it; what it leaves out is as if it were empty."""

    id: str
    type: str
    payload: Any = None
    status: str
    priority: int
    delay: float
    max_retries: int
    retry_count: int
    created_at: datetime
    updated_at: datetime
    run_after: datetime
    queue: str = "default"
    result: Any = None
    error: str | None = None
    reason: str | None = None
    attempt: int = 0
    crashes: int = 0
    replays: int = 0
    replayed_from: str | None = None
    replayed_at: datetime | None = None
    cancel_requested: bool = False
    timeout: float | None = None
    schedule_timeout: float | None = None
    unique_key: str | None = None
    headers: dict[str, str] = {}
    progress: Progress | None = None
    attempts: list[AttemptInfo] = []
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more: DONE, DEAD or CANCELLED."""
        return self.status in ENDED


class JobPage(msgspec.Struct, frozen=True):
    """Some jobs of a listing, and the cursor of the next ones; None at the end."""

    jobs: list[JobInfo]
    next_cursor: str | None = None


class BatchError(msgspec.Struct, frozen=True):
    """Why one job of a batch was not stored, or with `is_unknown` why nobody knows: then it has this `id` if it was."""

    index: int
    error: str
    field: str | None = None
    accepted: str | None = None
    id: str | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether it may have been stored all the same: ask for it later, or send it again with the key it had."""
        return self.accepted == UNKNOWN


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch: the stored jobs in order, and the refusals by the index of their job."""

    jobs: list[JobInfo]
    errors: list[BatchError] = []


class LineError(msgspec.Struct, frozen=True):
    """Why one line of an import was refused."""

    line: int
    error: str
    field: str | None = None


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the lines of an import: jobs brought back, stored anew, there already, or kept off by a twin."""

    lines: int = 0
    replayed: int = 0
    stored: int = 0
    already: int = 0
    conflicts: int = 0
    errors: list[LineError] = []


class TypeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A job type; what is known of a task beside its name."""

    type: str
    description: str | None = None
    queue: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    version: int | None = None
    schema: dict[str, Any] = {}
    example: Any = None


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as it was heard of last; without `queues` or `types` it takes all."""

    id: str
    last_seen_at: datetime
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    started_at: datetime | None = None
    queues: list[str] | None = None
    types: list[str] | None = None
    slots: int | None = None
    busy: int | None = None
    quiet: bool = False
    remote: bool = False


class OperationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An act on many jobs, as far as it is."""

    id: str
    action: str
    status: str
    matched: int
    done: int
    failed: int
    started_at: datetime
    finished_at: datetime | None = None
    cancel_requested: bool = False
    error: str | None = None
    errors: list[dict[str, str]] = []


class JobEvent(msgspec.Struct, frozen=True):
    """One event of a stream: its name, such as `job.done`, the id to go on from, and the job or its summary."""

    name: str
    id: str
    data: dict[str, Any]
