"""What the checker knows of each job: its life, told again from the store's replies alone."""

from dataclasses import dataclass, field, replace

from gotaskq.job import FINAL, JobId, Status


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
    unique_key: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it waits or runs."""
        return self.status not in FINAL

    def end(self, status: Status) -> None:
        """Rest in a status, with nobody's lease."""
        self.status = status
        self.lease = None


@dataclass(slots=True)
class Lives:
    """All jobs of a store, and the requests it has heard: by the key of each what was asked for, and the job for it."""

    jobs: dict[JobId, Life] = field(default_factory=dict)
    requests: dict[str, tuple[str, JobId]] = field(default_factory=dict)

    def holder(self, unique_key: str) -> JobId | None:
        """Return the job with this key that waits or runs."""
        alive = (life.job_id for life in self.jobs.values() if life.unique_key == unique_key and life.is_alive)
        return next(alive, None) if unique_key else None

    def copy(self) -> "Lives":
        """Return all of it as it is now, to come back to when the store does."""
        return Lives(
            {
                job_id: replace(life, lease=None if life.lease is None else replace(life.lease))
                for job_id, life in self.jobs.items()
            },
            dict(self.requests),
        )
