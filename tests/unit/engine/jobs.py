"""Jobs for unit tests: whole and valid, whatever a test does not care about filled in."""

from typing import Any, Final

from msgspec.structs import replace

from gotaskq.job import Job, JobId, Lease, Status

NOW_MS: Final = 1_795_428_000_000  # 2026-11-23T10:00:00Z
LEASE: Final = Lease(JobId(7), "nonce")

PENDING: Final = Job(
    id=JobId(7),
    type="email",
    queue="default",
    payload_json=b"null",
    priority=0,
    delay_ms=0,
    max_retries=5,
    rank=0,
    created_at_ms=NOW_MS,
    updated_at_ms=NOW_MS,
    run_after_ms=NOW_MS,
    enqueue_nonce="enqueued",
)


def pending(**changes: Any) -> Job:
    """Return a job as it was submitted, with these members changed."""
    return replace(PENDING, **changes)


def running(**changes: Any) -> Job:
    """Return a job in its first attempt, with these members changed."""
    started = replace(PENDING, status=Status.RUNNING, attempt=1, lease=LEASE, worker="here:1", started_at_ms=NOW_MS + 5)
    return replace(started, **changes)


class NoReports:
    """Hears what handlers report, and does nothing about it but remember it."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def report_progress(self, job: Job, fraction: float, note: str) -> None:
        self.heard.append((job, fraction, note))

    def report_checkpoint(self, job: Job, state_json: bytes) -> None:
        self.heard.append((job, state_json))

    def extend(self, job: Job, timeout_s: float) -> None:
        self.heard.append((job, timeout_s))
