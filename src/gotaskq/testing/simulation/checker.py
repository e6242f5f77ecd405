"""The judge of a simulation: hears every reply of the store and every event of the engine, and knows what may not be.

It keeps its own account of each job (`lives.py`) and shares no code with the store or the engine. What it must not see
is an InvariantError, named by the invariant it breaks.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from gotaskq.amendment import Amended, Amendment
from gotaskq.backend import Enqueued, EnqueueReply, Existing, Extended, Note, QueueCounts, Settled
from gotaskq.job import FINAL, DeathReason, Job, JobId, Lease, Status
from gotaskq.keys import FoundBy
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule, Settlement
from gotaskq.testing.simulation.lives import LeaseView, Life, Lives

MAX_CRASHES: Final = 3  # as promised: DEAD at the third lease that runs out
KEPT_ATTEMPTS: Final = 5  # as promised: the last five that failed


class InvariantError(AssertionError):
    """An invariant does not hold; the message says which, and of which job."""


class StoreChecker:
    """Follows the store. Each method named as one of the Backend's takes what was asked and what was replied."""

    def __init__(self, *, now_ms: Callable[[], int], name: Callable[[int], str]) -> None:
        self._now_ms = now_ms
        self._name = name
        self.lives = Lives()
        self.leases: set[Lease] = set()  # ever given, on whatever course of events
        self.settled: dict[Lease, tuple[type[Settlement], str]] = {}  # what was made of each, and for whom
        self.noted: set[Lease] = set()  # leases whose holders were heard to say how far they are
        self.undone: set[Lease] = set()  # settled before a restart, which may have lost it
        self.ended: set[tuple[JobId, Status]] = set()  # jobs that ended, and how
        self.deleted: set[JobId] = set()
        self.unwanted: set[JobId] = set()  # jobs somebody asked the end of, on whatever course of events
        self.disturbed_ms: dict[str, int] = {}  # process → when a fault last hit it
        self.kept: list[tuple[int, Lives]] = []  # snapshots by the length of the store's journal

    def carried_out(self, method: str, who: str, about: Any, reply: Any) -> None:
        """Judge one reply."""
        judge = getattr(self, f"_{method}", None)
        if judge is not None:
            judge(who, about, reply)

    def disturb_all(self, processes: Iterable[str]) -> None:
        """Give every process an excuse for the leases it held until now: the store forgot them."""
        for process in processes:
            self.disturbed_ms[process] = max(self.disturbed_ms.get(process, 0), self._now_ms())

    def unended(self) -> list[Life]:
        """Return the jobs that have not ended."""
        return [life for life in self.lives.jobs.values() if life.status not in FINAL]

    def keep(self, length: int) -> None:
        """Remember all as it is, for a restart that brings the store back to here."""
        self.kept.append((length, self.lives.copy()))

    def come_back(self, place: int) -> tuple[int, set[JobId]]:
        """Forget what came after a snapshot; return its length of the journal and the jobs that are lost with it."""
        length, lives = self.kept[place]
        lost = self.lives.jobs.keys() - lives.jobs.keys()
        del self.kept[place + 1 :]
        self.lives = lives.copy()
        self.undone.update(self.settled)
        return length, set(lost)

    # -- the methods of the store ------------------------------------------------------------------------------------

    def _enqueue(self, who: str, jobs: Sequence[Job], replies: Sequence[EnqueueReply]) -> None:
        for job, reply in zip(jobs, replies, strict=True):
            known = self.lives.jobs.get(job.id)
            if reply is Enqueued.OK:
                self._require(known is None, "I2 never twice", job.id, "was stored again")
                self._take_keys(job)
                due_ms, schedule_ms = job.created_at_ms + job.delay_ms, job.timeouts.schedule_ms
                life = Life(job.id, job.enqueue_nonce, who, job.max_retries, due_ms, schedule_ms)
                life.unique_key = job.unique_key
                self.lives.jobs[job.id] = life
            elif isinstance(reply, Existing) or reply is Enqueued.KEY_REUSED:
                self._require(_is_found(job, reply, self.lives), "I9 keys", job.id, f"is answered with {reply}")
                self._remember(job, reply)
            elif reply is Enqueued.DUPLICATE:
                is_same = known is not None and known.enqueue_nonce == job.enqueue_nonce
                self._require(is_same, "I2 never twice", job.id, "is called a duplicate of a job it is not")
            elif reply is Enqueued.COLLISION:
                # Within a process ids never repeat, so this can only be its own job, sent again as another one.
                is_own = known is not None and known.stored_by == who
                self._require(not is_own, "I2 never twice", job.id, f"was sent again by {who} with another nonce")

    def _take_keys(self, job: Job) -> None:
        twin, asked = self.lives.holder(job.unique_key), job.keys.idempotency
        self._require(twin is None, "I9 keys", job.id, f"has the unique key of {twin}, which has not ended")
        if asked is not None:
            known = self.lives.requests.get(asked.digest)
            self._require(known is None, "I9 keys", job.id, f"was asked for before, as {known}")
            self.lives.requests[asked.digest] = (asked.fingerprint, job.id)

    def _remember(self, job: Job, reply: EnqueueReply) -> None:
        """Let a request stand for the job that its unique key found."""
        asked = job.keys.idempotency
        if asked is not None and isinstance(reply, Existing):
            self.lives.requests.setdefault(asked.digest, (asked.fingerprint, reply.job_id))

    def _reserve(self, who: str, lease_ms: int, jobs: Sequence[Job]) -> None:
        now_ms = self._now_ms()
        for job in jobs:
            life = self._life(job.id)
            self._require(
                life.lease is None, "I4 leases do not overlap", job.id, f"is {life.lease} and leased to {who}"
            )
            self._require(life.status is Status.PENDING, "I3 one end", job.id, f"is {life.status.value} and runs again")
            self._require(
                now_ms >= life.due_ms, "I7 not before its time", job.id, f"runs {life.due_ms - now_ms} ms early"
            )
            ends = life.retries + life.crashes + life.releases
            self._require(life.starts == ends, "I7 starts", job.id, f"starts {life.starts + 1} times with {ends} ends")
            if job.lease is None or job.lease in self.leases:
                raise self._violation("I4 leases do not overlap", job.id, "has no lease of its own")
            self.leases.add(job.lease)
            life.starts += 1
            life.status = Status.RUNNING
            life.lease = LeaseView(job.lease.nonce, who, now_ms, now_ms + lease_ms)

    def _extend(self, who: str, asked: tuple[Sequence[Lease], int], replies: Sequence[Extended]) -> None:
        leases, lease_ms = asked
        for lease, reply in zip(leases, replies, strict=True):
            held = self._held(lease)
            self._require(
                (held is None) == (reply is Extended.LOST), "I4 fencing", lease.job_id, f"extend said {reply}"
            )
            if held is not None and held.lease is not None:
                held.lease.renewed_ms = self._now_ms()
                held.lease.deadline_ms = max(held.lease.deadline_ms, self._now_ms() + lease_ms)
                is_told = reply is Extended.CANCEL_REQUESTED
                self._require(is_told == held.is_cancel_requested, "cancel", lease.job_id, f"extend said {reply}")

    def _note(self, who: str, notes: Sequence[Note], replies: Sequence[Extended]) -> None:
        for note, reply in zip(notes, replies, strict=True):
            job_id, held = note.lease.job_id, self._held(note.lease)
            self._require((held is None) == (reply is Extended.LOST), "I4 fencing", job_id, f"note said {reply}")
            if held is not None:
                is_told = reply is Extended.CANCEL_REQUESTED
                self._require(is_told == held.is_cancel_requested, "cancel", job_id, f"note said {reply}")
                if note.progress is not None:
                    self.noted.add(note.lease)

    def _settle(self, who: str, settlements: Sequence[Settlement], replies: Sequence[Settled]) -> None:
        for settlement, reply in zip(settlements, replies, strict=True):
            lease = settlement.lease
            life = self._held(lease)
            if life is None:
                is_refused = reply is Settled.LOST or reply is Settled.ALREADY
                self._require(
                    is_refused, "I3 one end", lease.job_id, f"was settled by {who}, who does not hold its lease"
                )
                continue
            if reply is Settled.LOST and isinstance(settlement, Cancel) and not life.is_cancel_requested:
                self._undone_wish(who, life)
                continue
            is_accepted = reply is Settled.OK or reply is Settled.CANCELLED
            self._require(is_accepted, "I3 one end", lease.job_id, f"is held by {who}, who hears {reply}")
            self._apply(settlement, life)
            is_cancelled = life.status is Status.CANCELLED and not isinstance(settlement, Cancel)
            self._require((reply is Settled.CANCELLED) == is_cancelled, "cancel", lease.job_id, f"settle said {reply}")
            self.settled[lease] = (Cancel if is_cancelled else type(settlement), who)

    def _undone_wish(self, who: str, life: Life) -> None:
        """Let a lease lapse whose job was to be cancelled, where a restart of the store has lost that wish."""
        if life.job_id in self.unwanted:
            self.disturb_all((who,))

    def _apply(self, settlement: Settlement, life: Life) -> None:
        match settlement:
            case Complete():
                self._end(life, Status.DONE)
            case DeadLetter(reason=DeathReason.EXPIRED):
                self._give_up(life)
            case DeadLetter():
                life.failures += 1
                self._end(life, Status.DEAD)
            case Cancel():
                is_asked = life.job_id in self.unwanted
                self._require(is_asked, "cancel", life.job_id, "is cancelled, and nobody asked for it")
                self._end(life, Status.CANCELLED)
            case Reschedule() | Release() if life.is_cancel_requested:
                self._end(life, Status.CANCELLED)
            case Reschedule(delay_ms=delay_ms):
                life.retries += 1
                life.failures += 1
                is_left = life.retries <= life.max_retries
                self._require(
                    is_left, "I7 retries", life.job_id, f"is retried {life.retries} of {life.max_retries} times"
                )
                self._wait(life, delay_ms)
            case Release(delay_ms=delay_ms):
                life.releases += 1
                self._wait(life, delay_ms)

    def _reap(self, who: str, _: None, reaped: Sequence[Job]) -> None:
        for job in reaped:
            life = self._life(job.id)
            lease = life.lease
            if lease is None or lease.deadline_ms >= self._now_ms():
                raise self._violation("I4 leases do not overlap", job.id, f"was reaped by {who}, though its lease runs")
            disturbed_ms = self.disturbed_ms.get(lease.holder, 0)
            reason = f"lost its lease, though nothing disturbed {lease.holder}"
            self._require(disturbed_ms >= lease.renewed_ms, "I7 no lease lapses unprovoked", job.id, reason)
            life.crashes += 1
            if life.is_cancel_requested:
                self._end(life, Status.CANCELLED)
            else:
                self._crash(life)
            is_same = job.status is life.status
            self._require(is_same, "I7 crashes", job.id, f"is {job.status.value} after crash {life.crashes}")

    def _crash(self, life: Life) -> None:
        life.failures += 1
        if life.crashes >= MAX_CRASHES:
            self._end(life, Status.DEAD)
        else:
            self._wait(life, 0)

    def _expire(self, who: str, _: None, expired: Sequence[Job]) -> None:
        for job in expired:
            life = self._life(job.id)
            self._require(
                life.status is Status.PENDING, "I3 one end", job.id, f"is {life.status.value} and was given up"
            )
            self._give_up(life)

    def _give_up(self, life: Life) -> None:
        """End a job that waited for too long."""
        left_ms = life.due_ms + life.schedule_ms - self._now_ms()
        self._require(life.schedule_ms > 0, "I7 not before its time", life.job_id, "expires, and may wait for ever")
        self._require(left_ms < 0, "I7 not before its time", life.job_id, f"expires with {left_ms} ms left")
        self._end(life, Status.DEAD)

    def _cancel(self, who: str, job_id: JobId, reply: Job | None) -> None:
        if reply is None:
            self._require(job_id not in self.lives.jobs, "I1 none is lost", job_id, "is not there to be cancelled")
            return
        life = self._life(job_id)
        if life.status is Status.PENDING:
            self._end(life, Status.CANCELLED)
        elif life.status is Status.RUNNING:
            life.is_cancel_requested = True
            self.unwanted.add(job_id)
        self._require(
            reply.status is life.status, "cancel", job_id, f"is {reply.status.value}, not {life.status.value}"
        )

    def _amend(self, who: str, asked: tuple[JobId, Amendment], reply: Amended | None) -> None:
        job_id, amendment = asked
        if reply is None:
            self._require(job_id not in self.lives.jobs, "I1 none is lost", job_id, "is not there to be changed")
            return
        life = self._life(job_id)
        if amendment.replays == life.replays and life.status is Status.DEAD:
            self._replay(who, [job_id], [reply.job] if reply.is_amended else [])
        else:
            is_meant = amendment.replays is None and life.status is Status.PENDING
            self._require(reply.is_amended == is_meant, "amend", job_id, f"is {life.status.value}")
        if not reply.is_amended:
            return
        if amendment.delay_ms is not None:
            life.due_ms = self._now_ms() + amendment.delay_ms
        if amendment.schedule_ms is not None:
            life.schedule_ms = amendment.schedule_ms
        if amendment.max_retries is not None:
            life.max_retries = amendment.max_retries

    def _replay(self, who: str, job_ids: Sequence[JobId], replayed: Sequence[Job]) -> None:
        known = [self._life(job_id) for job_id in dict.fromkeys(job_ids) if job_id in self.lives.jobs]
        lone = [life for life in known if life.status is Status.DEAD and self.lives.holder(life.unique_key) is None]
        dead = [life.job_id for life in lone]
        for job in replayed:
            self._require(job.id in dead, "I3 one end", job.id, "was replayed, though it is not dead")
            life = self._life(job.id)
            life.starts = life.retries = life.crashes = life.releases = 0
            life.replays += 1
            life.is_cancel_requested = False
            self._wait(life, 0)
        if len(replayed) != len({life.unique_key or life.job_id for life in lone}):
            raise self._violation("I3 one end", dead[0], "is dead and was not replayed")

    def _delete(self, who: str, asked: tuple[Sequence[JobId], Status | None], deleted: int) -> None:
        job_ids, status = asked
        for job_id in job_ids:
            life = self.lives.jobs.get(job_id)
            if life is not None and life.status in FINAL and status in (None, life.status):
                del self.lives.jobs[job_id]
                self.deleted.add(job_id)
                deleted -= 1
        self._require(
            deleted == 0, "I1 none is lost", job_ids[0] if job_ids else 0, f"{deleted} more deleted than asked"
        )

    # -- the store as a whole ----------------------------------------------------------------------------------------

    def check_counts(self, queues: Sequence[QueueCounts]) -> None:
        """Compare the store's counts with ours: each job is in exactly one place (I5, I6)."""
        counted = {
            Status.PENDING: sum(counts.depth for counts in queues),
            Status.RUNNING: sum(counts.running for counts in queues),
            Status.DEAD: sum(counts.dead for counts in queues),
        }
        statuses = [life.status for life in self.lives.jobs.values()]
        for status, count in counted.items():
            if count != statuses.count(status):
                raise InvariantError(
                    f"I5 one place: the store counts {count} {status.value}, we {statuses.count(status)}"
                )

    def check_job(self, job: Job | None, life: Life) -> None:
        """Compare one job with what we know of it."""
        if job is None:
            raise self._violation("I1 none is lost", life.job_id, f"is gone; it was {life.status.value}")
        ours = (life.status, life.retries, life.crashes, life.releases, life.replays)
        theirs = (job.status, job.retry_count, job.crashes, job.releases, job.replays)
        self._require(ours == theirs, "I3 one end", life.job_id, f"is {theirs}, and should be {ours}")
        kept, most = len(job.trail.attempts), min(KEPT_ATTEMPTS, life.failures)
        self._require(kept == most, "trail", life.job_id, f"shows {kept} failed attempts, and should show {most}")

    # -- within ------------------------------------------------------------------------------------------------------

    def _life(self, job_id: JobId) -> Life:
        life = self.lives.jobs.get(job_id)
        if life is None:
            raise self._violation("I2 none is made up", job_id, "was never stored")
        return life

    def _held(self, lease: Lease) -> Life | None:
        life = self.lives.jobs.get(lease.job_id)
        is_held = life is not None and life.lease is not None and life.lease.nonce == lease.nonce
        return life if is_held else None

    def _end(self, life: Life, status: Status) -> None:
        life.end(status)
        self.ended.add((life.job_id, status))

    def _wait(self, life: Life, delay_ms: int) -> None:
        life.end(Status.PENDING)
        life.due_ms = self._now_ms() + delay_ms

    def _require(self, holds: bool, invariant: str, job_id: int, otherwise: str) -> None:
        if not holds:
            raise self._violation(invariant, job_id, otherwise)

    def _violation(self, invariant: str, job_id: int, otherwise: str) -> InvariantError:
        return InvariantError(f"{invariant}: job {self._name(job_id)} {otherwise}")


def _is_found(job: Job, reply: EnqueueReply, lives: Lives) -> bool:
    """Say whether a job may be answered so, of which a key is taken."""
    asked = job.keys.idempotency
    fingerprint, asked_for = ("", None) if asked is None else lives.requests.get(asked.digest, ("", None))
    is_same = asked is not None and fingerprint == asked.fingerprint
    if reply is Enqueued.KEY_REUSED:
        return asked_for is not None and not is_same
    if not isinstance(reply, Existing):
        return False
    if reply.by is FoundBy.IDEMPOTENCY_KEY:
        return is_same and asked_for == reply.job_id
    return asked_for is None and lives.holder(job.unique_key) == reply.job_id
