"""What a store must do, written a second time: dicts and lists, time passed in, nothing shared with what is tested.

Follows the table of transitions (T1 to T16) word for word and slowly. Where the contract leaves a choice, the model
says what is allowed (`repliable`, `lapsed`, `expired`) and is then told what the store chose.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

REFUSED = frozenset({"collision", "full", "no_queue", "key_reused"})
ALIVE = ("PENDING", "RUNNING")


class Failure(NamedTuple):
    """An attempt that failed."""

    number: int
    started_at_ms: int | None
    ended_at_ms: int
    worker: str | None
    error: str
    traceback: str


@dataclass
class Record:
    """One job; the names are those of the job's members, so that the two can be compared."""

    id: int
    enqueue_nonce: str
    queue: str
    type: str
    payload_json: bytes
    priority: int
    rank: int
    max_retries: int
    created_at_ms: int
    run_after_ms: int
    status: str = "PENDING"
    retry_count: int = 0
    attempt: int = 0
    crashes: int = 0
    releases: int = 0
    replays: int = 0
    replayed_at_ms: int | None = None
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    unhandled_since_ms: int | None = None
    error: str | None = None
    death_reason: str | None = None
    execution_ms: int = 0
    schedule_ms: int = 0
    headers_json: bytes | None = None
    unique_key: str = ""
    request: tuple[str, str] | None = None  # its key and what was asked for
    failures: list[Failure] = field(default_factory=list)  # of all attempts, the latest last
    progress: float | None = None
    note: str = ""
    checkpoint_json: bytes | None = None
    result_json: bytes | None = None
    kept_ms: int | None = None  # once it has ended, by its queue's own rule
    worker: str | None = None
    is_cancel_requested: bool = False
    nonce: str | None = None  # of the lease, while there is one
    deadline_ms: int = 0
    settled_nonces: list[str] = field(default_factory=list)  # the latest last


@dataclass
class Limits:
    """How much the store keeps."""

    max_depth: int
    max_ended: int
    max_dead: int
    ended_ttl_ms: int
    dead_ttl_ms: int
    request_ttl_ms: int


class Model:
    """The store."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.jobs: dict[int, Record] = {}
        self.max_depths: dict[str, int] = {}  # of queues that have their own
        self.kept_ms: dict[str, tuple[int | None, int | None]] = {}  # likewise: of ended jobs, of dead ones
        self.paused: dict[str, bool] = {"default": False}
        self.ended: list[int] = []  # DONE and CANCELLED, in order of their end
        self.deaths: list[int] = []  # DEAD, in order of their death
        self.requests: dict[str, tuple[int, str, int]] = {}  # key → the job for it, what was asked for, until when

    # -- in: T1 of the table

    def create_queue(self, name: str) -> bool:
        return name not in self.paused and not self.paused.setdefault(name, False)

    def enqueue(self, records: Sequence[Record], *, atomic: bool, now_ms: int) -> list[str]:
        """Return a word for each; for a job that is there by a key which key, and its id."""
        before, requests = dict(self.jobs), dict(self.requests)
        replies = [self._enqueue(record, now_ms) for record in records]
        if atomic and REFUSED.intersection(replies):
            self.jobs, self.requests = before, requests
            new = {str(record.id) for record, reply in zip(records, replies, strict=True) if reply == "ok"}
            is_known = [
                (record.id in before and reply == "duplicate") or (" " in reply and reply.split(" ")[1] not in new)
                for record, reply in zip(records, replies, strict=True)
            ]
            return [
                reply if known or reply in REFUSED else "withheld"
                for reply, known in zip(replies, is_known, strict=True)
            ]
        return replies

    def _enqueue(self, record: Record, now_ms: int) -> str:
        if record.id in self.jobs:
            return "duplicate" if self.jobs[record.id].enqueue_nonce == record.enqueue_nonce else "collision"
        if record.queue not in self.paused:
            return "no_queue"
        reply, stands = self._judge_keys(record, now_ms), record.id
        if reply.startswith("unique_key"):
            stands = int(reply.split(" ")[1])
        elif reply:
            return reply
        elif len(self._waiting(record.queue)) >= self.max_depths.get(record.queue, self.limits.max_depth):
            return "full"
        else:
            self.jobs[record.id] = replace(record, settled_nonces=[], failures=[])
        if record.request is not None:
            key, asked = record.request
            self.requests[key] = (stands, asked, now_ms + self.limits.request_ttl_ms)
        return reply or "ok"

    def _judge_keys(self, record: Record, now_ms: int) -> str:
        """Return the reply for a job one of whose keys is taken, else nothing."""
        key, asked = record.request or ("", "")
        job_id, known, until_ms = self.requests.get(key, (0, "", 0))
        if until_ms > now_ms:
            return f"idempotency_key {job_id}" if known == asked else "key_reused"
        holder = self._holder(record.unique_key)
        return "" if holder is None else f"unique_key {holder}"

    def _holder(self, unique_key: str) -> int | None:
        alive = (job.id for job in self.jobs.values() if job.unique_key == unique_key and job.status in ALIVE)
        return next(alive, None) if unique_key else None

    # -- out: T2 and T3

    def next(self, turns: Sequence[tuple[str, int]], *, limit: int, now_ms: int) -> list[int]:
        """Say which jobs a reservation must bring, in order."""
        lines = {queue: self._due(queue, now_ms) for queue, take in turns if take and not self.paused[queue]}
        taken: list[int] = []
        while any(lines.values()) and len(taken) < limit:
            for queue, take in ((queue, take) for queue, take in turns if queue in lines):
                share = min(take, limit - len(taken))
                taken += lines[queue][:share]
                lines[queue] = lines[queue][share:]
        return taken

    def start(self, job_id: int, *, nonce: str, worker: str, lease_ms: int, now_ms: int) -> None:
        job = self.jobs[job_id]
        assert job.status == "PENDING"
        job.status = "RUNNING"
        job.attempt += 1
        job.nonce = nonce
        job.worker = worker
        job.started_at_ms = now_ms
        job.deadline_ms = now_ms + lease_ms

    def extend(self, job_id: int, nonce: str, *, lease_ms: int, now_ms: int) -> str:
        job = self.jobs.get(job_id)
        if job is None or job.nonce != nonce:
            return "lost"
        job.deadline_ms = max(job.deadline_ms, now_ms + lease_ms)
        return "cancel_requested" if job.is_cancel_requested else "held"

    def note(self, job_id: int, nonce: str, *, progress: float | None, text: str, checkpoint_json: bytes | None) -> str:
        job = self.jobs.get(job_id)
        if job is None or job.nonce != nonce:
            return "lost"
        if progress is not None:
            job.progress, job.note = progress, text
        if checkpoint_json is not None:
            job.checkpoint_json = checkpoint_json
        return "cancel_requested" if job.is_cancel_requested else "held"

    # -- settle: T4 to T7 and T12

    def repliable(self, job_id: int, nonce: str) -> set[str]:
        """Say what may be replied to one who does not hold the lease; empty when it is held."""
        job = self.jobs.get(job_id)
        if job is None or nonce not in (job.nonce, *job.settled_nonces):
            return {"lost"}
        if job.nonce == nonce:
            return set()
        return {"already"} if job.settled_nonces[-1] == nonce else {"already", "lost"}

    def complete(self, job_id: int, *, result_json: bytes | None, now_ms: int) -> str:
        self.jobs[job_id].result_json = result_json
        self._end(self._unlease(job_id), "DONE", now_ms=now_ms)
        return "ok"

    def cancelled_by_holder(self, job_id: int, *, now_ms: int) -> str:
        if not self.jobs[job_id].is_cancel_requested:
            return "lost"
        self._end(self._unlease(job_id), "CANCELLED", now_ms=now_ms)
        return "ok"

    def reschedule(self, job_id: int, *, delay_ms: int, error: str, traceback: str, now_ms: int) -> str:
        job = self._unlease(job_id)
        if job.is_cancel_requested:
            self._end(job, "CANCELLED", now_ms=now_ms)
            return "cancelled"
        self._fail(job, error, traceback, now_ms=now_ms)
        self._wait(job, now_ms + delay_ms)
        job.retry_count += 1
        job.error = error
        job.unhandled_since_ms = None
        return "ok"

    def release(self, job_id: int, *, delay_ms: int, unhandled: bool, now_ms: int) -> str:
        job = self._unlease(job_id)
        if job.is_cancel_requested:
            self._end(job, "CANCELLED", now_ms=now_ms)
            return "cancelled"
        self._wait(job, now_ms + delay_ms)
        job.attempt -= 1
        job.releases += 1
        if not unhandled:
            job.unhandled_since_ms = None
        elif job.unhandled_since_ms is None:
            job.unhandled_since_ms = now_ms
        return "ok"

    def dead_letter(self, job_id: int, *, reason: str, error: str, traceback: str, now_ms: int) -> str:
        job = self._unlease(job_id)
        if reason == "expired":
            job.attempt -= 1
        else:
            self._fail(job, error, traceback, now_ms=now_ms)
        self._die(job, reason=reason, error=error, now_ms=now_ms)
        return "ok"

    # -- leases that ran out: T8 and T9

    def lapsed(self, now_ms: int) -> set[int]:
        return {job.id for job in self.jobs.values() if job.status == "RUNNING" and job.deadline_ms < now_ms}

    def reap(self, job_id: int, *, max_crashes: int, now_ms: int, run_after_ms: int) -> Record:
        """Take a job back; when one that has a last chance gets it is the store's to say."""
        job = self.jobs[job_id]
        job.nonce = None
        job.crashes += 1
        if job.is_cancel_requested:
            self._end(job, "CANCELLED", now_ms=now_ms)
            return job
        self._fail(job, "worker lost", "", now_ms=now_ms)
        if job.crashes >= max_crashes:
            error = f"worker lost: the lease ran out {job.crashes} times, last with {job.worker}"
            self._die(job, reason="worker_lost", error=error, now_ms=now_ms)
        else:
            assert run_after_ms == now_ms or (run_after_ms > now_ms and job.crashes + 1 == max_crashes)
            self._wait(job, run_after_ms)
        return job

    # -- waits that were too long: T15

    def too_late(self, now_ms: int) -> set[int]:
        return {
            job.id
            for job in self.jobs.values()
            if job.status == "PENDING" and job.schedule_ms and now_ms - job.run_after_ms > job.schedule_ms
        }

    def expire(self, job_id: int, *, now_ms: int) -> Record:
        job = self.jobs[job_id]
        error = f"not started within {job.schedule_ms} ms of being due"
        self._die(job, reason="expired", error=error, now_ms=now_ms)
        return job

    # -- steering: T10, T11, T13, T14 and T16

    def cancel(self, job_id: int, *, now_ms: int) -> Record | None:
        job = self.jobs.get(job_id)
        if job is not None and job.status == "PENDING":
            self._end(job, "CANCELLED", now_ms=now_ms)
        elif job is not None and job.status == "RUNNING":
            job.is_cancel_requested = True
        return job

    def amend(self, job_id: int, change: dict[str, Any], *, now_ms: int) -> tuple[Record | None, bool]:
        """Change a waiting job; `delay_ms` counts from now, all else names members of the record.

        With `replays` it is for a job that is dead and came back so often.
        """
        job, change = self.jobs.get(job_id), dict(change)
        replays = change.pop("replays", None)
        if job is None:
            return job, False
        if replays is None and job.status != "PENDING":
            return job, False
        if replays is not None and (job.replays != replays or not self.replay([job_id], now_ms=now_ms)):
            return job, False
        for name, value in change.items():
            if name == "delay_ms":
                job.run_after_ms = now_ms + value
            else:
                setattr(job, name, value)
        return job, True

    def replay(self, job_ids: Iterable[int], *, now_ms: int) -> list[int]:
        replayed = []
        for job_id in job_ids:
            if job_id in self.deaths and self._holder(self.jobs[job_id].unique_key) is None:
                self.deaths.remove(job_id)
                job = self.jobs[job_id]
                self._wait(job, now_ms)
                job.retry_count = job.crashes = job.releases = 0
                job.replays += 1
                job.replayed_at_ms = now_ms
                job.error = job.death_reason = None
                job.started_at_ms = job.finished_at_ms = job.unhandled_since_ms = None
                job.is_cancel_requested = False
                replayed.append(job_id)
        return replayed

    def delete(self, job_ids: Iterable[int], *, status: str | None) -> int:
        deleted = 0
        for job_id in job_ids:
            job = self.jobs.get(job_id)
            if job is not None and job.status in ("DONE", "CANCELLED", "DEAD") and status in (None, job.status):
                self.forget(job_id)
                deleted += 1
        return deleted

    def purge(self, queue: str) -> int:
        gone = [job.id for job in self._waiting(queue)]
        for job_id in gone:
            del self.jobs[job_id]
        return len(gone)

    def ages_ms(self, queue: str, now_ms: int) -> list[int]:
        """Return for how long each of the queue's jobs has been due that is."""
        return [now_ms - self.jobs[job_id].run_after_ms for job_id in self._due(queue, now_ms)]

    def expired(self, now_ms: int) -> set[int]:
        of_all = [(self.ended, self.limits.ended_ttl_ms), (self.deaths, self.limits.dead_ttl_ms)]
        return {
            job_id
            for jobs, ttl_ms in of_all
            for job_id in jobs
            if self._age_ms(job_id, now_ms) > (self.jobs[job_id].kept_ms or ttl_ms)
        }

    def forget(self, job_id: int) -> None:
        del self.jobs[job_id]
        (self.ended if job_id in self.ended else self.deaths).remove(job_id)

    # -- looking

    def counts(self, queue: str, now_ms: int) -> tuple[int, int, int, int, bool]:
        """Return how many are ready, scheduled, running and dead, and whether the queue is paused."""
        of_queue = [job.status for job in self.jobs.values() if job.queue == queue]
        ready = len(self._due(queue, now_ms))
        scheduled = len(self._waiting(queue)) - ready
        return ready, scheduled, of_queue.count("RUNNING"), of_queue.count("DEAD"), self.paused[queue]

    def listing(
        self,
        *,
        status: str | None = None,
        queue: str | None = None,
        type: str | None = None,  # noqa: A002
        payloads: Sequence[bytes] | None = None,
    ) -> list[int]:
        order = reversed(self.deaths) if status == "DEAD" else sorted(self.jobs, reverse=True)
        return [
            job_id
            for job_id in order
            if status in (None, self.jobs[job_id].status)
            and queue in (None, self.jobs[job_id].queue)
            and type in (None, self.jobs[job_id].type)
            and (payloads is None or self.jobs[job_id].payload_json in payloads)
        ]

    # -- within

    def _waiting(self, queue: str) -> list[Record]:
        return [job for job in self.jobs.values() if job.queue == queue and job.status == "PENDING"]

    def _due(self, queue: str, now_ms: int) -> list[int]:
        due = [job for job in self._waiting(queue) if job.run_after_ms <= now_ms]
        return [job.id for job in sorted(due, key=lambda job: (-job.priority, job.created_at_ms, job.id))]

    def _age_ms(self, job_id: int, now_ms: int) -> int:
        finished_at_ms = self.jobs[job_id].finished_at_ms
        assert finished_at_ms is not None
        return now_ms - finished_at_ms

    def _unlease(self, job_id: int) -> Record:
        job = self.jobs[job_id]
        assert job.status == "RUNNING"
        assert job.nonce is not None
        job.settled_nonces.append(job.nonce)
        job.nonce = None
        return job

    def _wait(self, job: Record, run_after_ms: int) -> None:
        job.status = "PENDING"
        job.run_after_ms = run_after_ms
        job.progress, job.note = None, ""

    def _fail(self, job: Record, error: str, traceback: str, *, now_ms: int) -> None:
        job.failures.append(Failure(job.attempt, job.started_at_ms, now_ms, job.worker, error, traceback))

    def _end(self, job: Record, status: str, *, now_ms: int) -> None:
        job.status = status
        job.finished_at_ms = now_ms
        job.kept_ms = self.kept_ms.get(job.queue, (None, None))[0]
        self.ended.append(job.id)
        if len(self.ended) > self.limits.max_ended:
            self.forget(self.ended[0])

    def _die(self, job: Record, *, reason: str, error: str, now_ms: int) -> None:
        job.status = "DEAD"
        job.death_reason = reason
        job.error = error
        job.finished_at_ms = now_ms
        job.kept_ms = self.kept_ms.get(job.queue, (None, None))[1]
        self.deaths.append(job.id)
        if len(self.deaths) > self.limits.max_dead:
            self.forget(self.deaths[0])
