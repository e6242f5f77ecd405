"""What the checker knows of each job: its life, told again from the store's replies alone."""

from dataclasses import dataclass, field, replace

from gotaskq.job import JobId, Status


@dataclass(slots=True)
class LeaseView:
    """A lease as the store judges it: who holds it, since when, until when."""

    nonce: str
    holder: str
    renewed_ms: int
    deadline_ms: int


@dataclass(slots=True)
class Life:
    """One job, as it must be now; the counts are those since its last replay, but for that of failed attempts."""

    job_id: JobId
    enqueue_nonce: str
    stored_by: str
    max_retries: int
    due_ms: int
    schedule_ms: int = 0  # how long it may wait from then on; 0 for ever
    status: Status = Status.PENDING
    lease: LeaseView | None = None
    starts: int = 0
    retries: int = 0
    crashes: int = 0
    releases: int = 0
    replays: int = 0
    failures: int = 0
    is_cancel_requested: bool = False

    def end(self, status: Status) -> None:
        """Rest in a status, with nobody's lease."""
        self.status = status
        self.lease = None


@dataclass(slots=True)
class Lives:
    """All jobs of a store, and the nonces of its leases."""

    jobs: dict[JobId, Life] = field(default_factory=dict)

    def copy(self) -> "Lives":
        """Return all of it as it is now, to come back to when the store does."""
        return Lives(
            {
                job_id: replace(life, lease=None if life.lease is None else replace(life.lease))
                for job_id, life in self.jobs.items()
            }
        )
