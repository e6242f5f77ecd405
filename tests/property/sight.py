"""What can be seen of a store, laid beside the model."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import astuple
from tests.property.model import Record

from gotaskq.backend import Enqueued, EnqueueReply, JobQuery, QueueCounts
from gotaskq.criteria import payload_criterion
from gotaskq.job import Job, Status
from gotaskq.trail import KEPT_ATTEMPTS

# Record members that have the same name and value in Job.
SAME: Final = (
    *("id", "enqueue_nonce", "queue", "type", "payload_json", "priority", "rank", "max_retries", "retry_count"),
    *("attempt", "crashes", "releases", "replays", "created_at_ms", "run_after_ms", "started_at_ms", "finished_at_ms"),
    *("unhandled_since_ms", "error", "worker", "is_cancel_requested", "result_json", "headers_json", "unique_key"),
)
QUERIES: Final = (
    JobQuery(),
    JobQuery(status=Status.DEAD),
    JobQuery(status=Status.PENDING, queue="mail"),
    JobQuery(status=Status.DEAD, type="sms.send"),
    JobQuery(payload=(payload_criterion("changed", "\0\t"),)),
)


class Walk:
    """A listing in progress while the store goes on changing."""

    def __init__(self, query: JobQuery, there: Sequence[int]) -> None:
        self.query = query
        self.cursor: str | None = None
        self.seen: list[int] = []
        self.there_all_along = set(there)

    def check(self) -> None:
        assert len(set(self.seen)) == len(self.seen)
        assert self.there_all_along <= set(self.seen)


def record_of(job: Job) -> Record:
    members = ("id", "enqueue_nonce", "queue", "type", "payload_json", "priority", "rank", "max_retries")
    same = {name: getattr(job, name) for name in (*members, "headers_json", "created_at_ms", "run_after_ms")}
    asked = job.keys.idempotency
    return Record(
        **same,
        execution_ms=job.timeouts.execution_ms,
        schedule_ms=job.timeouts.schedule_ms,
        unique_key=job.unique_key,
        request=None if asked is None else (asked.digest, asked.fingerprint),
    )


def compare(job: Job, record: Record) -> None:
    seen = {name: getattr(job, name) for name in SAME} | {
        "status": job.status.value,
        "death_reason": job.death_reason and job.death_reason.value,
        "nonce": job.lease and job.lease.nonce,
        "execution_ms": job.timeouts.execution_ms,
        "schedule_ms": job.timeouts.schedule_ms,
        "progress": job.trail.progress,
        "note": job.trail.note,
        "checkpoint_json": job.trail.checkpoint_json,
        "replayed_at_ms": job.trail.replayed_at_ms,
    }
    assert seen == {name: getattr(record, name) for name in seen}
    assert [astuple(attempt) for attempt in job.trail.attempts] == record.failures[-KEPT_ATTEMPTS:]


def visible_counts(counts: QueueCounts) -> tuple[int, int, int, int, bool]:
    return counts.ready, counts.scheduled, counts.running, counts.dead, counts.is_paused


def word_of(reply: EnqueueReply) -> str:
    """Return a reply in the model's words: which key, and the id, for a job that is there."""
    return reply.value if isinstance(reply, Enqueued) else f"{reply.by.value} {reply.job_id}"


def words(replies: Sequence[str]) -> list[str]:
    """Return replies without the ids."""
    return [reply.partition(" ")[0] for reply in replies]
