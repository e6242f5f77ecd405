"""Hears what each simulated process does and tells, and holds it against what the store has confirmed.

Writes the history as it goes. The first violation ends the run; what comes after it is not looked at.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from gotaskq.backend import Enqueued, Existing, Extended
from gotaskq.events import (
    Event,
    JobCancelled,
    JobDied,
    JobDone,
    JobProgressed,
    JobReleased,
    JobRetryScheduled,
    JobSnoozed,
    JobStarted,
)
from gotaskq.job import Job, JobId, Lease, Status
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule
from gotaskq.testing.simulation.checker import InvariantError, StoreChecker
from gotaskq.testing.simulation.faults import Fault
from gotaskq.testing.simulation.history import History
from gotaskq.testing.simulation.process import SimProcess
from gotaskq.testing.simulation.store import Call

# What an event says was done, by the settlement that does it.
DONE_BY: Final[dict[type[Any], type[Any]]] = {
    JobDone: Complete,
    JobRetryScheduled: Reschedule,
    JobReleased: Release,
    JobSnoozed: Release,
    JobDied: DeadLetter,
    JobCancelled: Cancel,
}
TOLD_BY: Final[dict[type[Any], type[Any]]] = {Complete: JobDone, DeadLetter: JobDied, Cancel: JobCancelled}
# Events of a reaper, of an expiry or of a cancel; there, no lease is left to tell one end from another.
ENDED_AS: Final[dict[type[Any], Status]] = {JobDied: Status.DEAD, JobCancelled: Status.CANCELLED}

FOREVER_MS: Final = 1 << 62

UNTOLD: Final = frozenset({"queues", "promote", "prune", "get", "list_jobs"})  # calls that change nothing of a job


class Witness:
    """The simulation's memory and conscience."""

    def __init__(self, history: History, *, now_ms: Callable[[], int], on_violation: Callable[[], None]) -> None:
        self.history = history
        self.store = StoreChecker(now_ms=now_ms, name=history.job)
        self.violation: InvariantError | None = None
        self._now_ms = now_ms
        self._on_violation = on_violation
        self.acknowledged: set[JobId] = set()
        self.lost: set[JobId] = set()  # with a restart of the store
        self.calls = 0
        self._granted: dict[str, set[Lease]] = defaultdict(set)  # process → leases it knows to be its own
        self._offered: dict[str, set[Lease]] = defaultdict(set)  # process → leases it has sent a settlement for
        self._lost: dict[str, set[Lease]] = defaultdict(set)  # process → leases it was told are not its own any more
        self._told: set[tuple[Lease, type[Any]]] = set()

    # -- the network's listener --------------------------------------------------------------------------------------

    def sent(self, process: SimProcess, call: Call[Any]) -> None:
        """Note what a process offers to settle."""
        if call.name == "settle":
            self._offered[process.name].update(settlement.lease for settlement in call.about)

    def carried_out(self, process: SimProcess, call: Call[Any], reply: Any) -> None:
        """Judge a reply of the store."""
        self.calls += 1
        if call.name not in UNTOLD and reply != []:
            self.history.add(process.name, call.name, self._describe(call, reply))
        self.check(self.store.carried_out, call.name, process.name, call.about, reply)

    def answered(self, process: SimProcess, call: Call[Any], reply: Any) -> None:
        """Note what a process now relies on."""
        if call.name == "reserve":
            self._granted[process.name].update(job.lease for job in reply if job.lease is not None)
        elif call.name == "extend":
            leases, _ = call.about
            gone = {lease for lease, said in zip(leases, reply, strict=True) if said is Extended.LOST}
            self._lost[process.name] |= gone
        elif call.name == "enqueue":
            stored = (Enqueued.OK, Enqueued.DUPLICATE)
            self.acknowledged.update(job.id for job, said in zip(call.about, reply, strict=True) if said in stored)

    def hit(self, process: SimProcess, fault: Fault, call: Call[Any]) -> None:
        """Note that a process has an excuse for the leases it held until now."""
        self.store.disturbed_ms[process.name] = max(self.store.disturbed_ms.get(process.name, 0), self._now_ms())
        if call.name not in UNTOLD:
            self.history.add(process.name, fault.value, call.name)

    def cripple(self, process: SimProcess, fault: Fault) -> None:
        """Note that a process has an excuse for every lease, until it recovers."""
        self.store.disturbed_ms[process.name] = FOREVER_MS
        self.history.add(process.name, fault.value)

    def recover(self, process: SimProcess) -> None:
        """Note that a process has no more excuse for what it takes from now on."""
        self.store.disturbed_ms[process.name] = self._now_ms()
        self.history.add(process.name, "recovers")

    # -- the processes -----------------------------------------------------------------------------------------------

    def told(self, process: SimProcess, event: Event) -> None:
        """Hold an event of a process's engine against the store."""
        self.check(self._hear, process, event)

    def drained(self, process: SimProcess, *, since_ms: int) -> None:
        """Hear that a worker ended well, after it was asked to at `since_ms`."""
        kept = self._granted[process.name] - self._offered[process.name] - self._lost[process.name]
        if self.store.disturbed_ms.get(process.name, 0) >= since_ms:
            # What it could not settle in time will lapse, even where an extension of it is still on its way.
            self.store.disturbed_ms[process.name] = FOREVER_MS
        elif kept:
            self.violate(InvariantError(f"drain: {process.name} ended and kept {len(kept)} leases to itself"))
        else:
            self.check(self._check_told, process)

    def restarted(self, place: int) -> int:
        """Go back to a snapshot of the store with it; return how many calls of its journal it keeps."""
        length, lost = self.store.come_back(place)
        self.lost |= lost
        self.history.add("store", "restart", f"back by {len(self.store.kept) - place} snapshots, {len(lost)} jobs lost")
        return length

    def check(self, judge: Callable[..., None], *arguments: Any) -> None:
        """Let a judge speak, unless judgment has been passed."""
        if self.violation is None:
            try:
                judge(*arguments)
            except InvariantError as violation:
                self.violate(violation)

    def violate(self, violation: InvariantError) -> None:
        """End the run with this."""
        if self.violation is None:
            self.violation = violation
            self.history.add("checker", "VIOLATION", str(violation))
            self.history.is_closed = True
            self._on_violation()

    def check_acknowledged(self) -> None:
        """Raise where a job that was answered for is in no account: neither ended, nor lost with the store's past."""
        missing = self.acknowledged - self.store.lives.jobs.keys() - self.store.deleted - self.lost
        for job_id in sorted(missing):
            raise InvariantError(f"I1 none is lost: job {self.history.job(job_id)} was acknowledged, and is nowhere")
        for life in self.store.unended():
            raise InvariantError(f"I1 every job ends: job {self.history.job(life.job_id)} is still {life.status.value}")

    # -- within ------------------------------------------------------------------------------------------------------

    def _hear(self, process: SimProcess, event: Event) -> None:
        kind = type(event)
        job = getattr(event, "job", None)
        if job is None:
            return
        self.history.add(process.name, kind.__name__, self._named(job))
        if job.lease is None:
            status = ENDED_AS.get(kind)
            if status is not None and (job.id, status) not in self.store.ended:
                raise InvariantError(
                    f"events: {kind.__name__} of {self._named(job)}, which the store has not confirmed"
                )
            return
        if kind is JobProgressed:  # as often as a handler says so
            self._require_noted(process, job)
            return
        if (job.lease, kind) in self._told:
            raise InvariantError(f"events: {kind.__name__} of {self._named(job)} twice")
        self._told.add((job.lease, kind))
        if kind is JobStarted and job.lease not in self._granted[process.name]:
            raise InvariantError(f"I7 starts: {process.name} runs {self._named(job)} without its lease")
        settlement = DONE_BY.get(kind)
        done = self.store.settled.get(job.lease)
        if settlement is not None and (done is None or done[0] is not settlement):
            raise InvariantError(f"events: {kind.__name__} of {self._named(job)}, which the store has not confirmed")

    def _require_noted(self, process: SimProcess, job: Job) -> None:
        if job.lease not in self.store.noted:
            raise InvariantError(
                f"events: {process.name} tells of the progress of {self._named(job)}, which the store has not confirmed"
            )

    def _check_told(self, process: SimProcess) -> None:
        """Raise where a process ended a job and never said so: its metrics would run behind the store for ever.

        Ends only: of a retry whose reply was lost, the store no longer knows once the job has run again elsewhere.
        """
        for lease, (settlement, who) in self.store.settled.items():
            life = self.store.lives.jobs.get(lease.job_id)
            if who != process.name or lease in self.store.undone or life is None or life.replays:
                continue
            if settlement in TOLD_BY and (lease, TOLD_BY[settlement]) not in self._told:
                name = self.history.lease(lease.job_id, lease.nonce)
                raise InvariantError(f"I6 counts: {who} settled {name} ({settlement.__name__}), and told nobody")

    def _named(self, job: Job) -> str:
        return self.history.job(job.id) if job.lease is None else self.history.lease(job.id, job.lease.nonce)

    def _describe(self, call: Call[Any], reply: Any) -> str:
        if call.name in ("reserve", "reap", "expire", "replay"):
            return " ".join(f"{self._named(job)}={job.status.value}" for job in reply)
        if call.name in ("enqueue", "extend", "note", "settle"):
            about = call.about[0] if call.name == "extend" else call.about
            return " ".join(f"{self._subject(one)}={self._said(said)}" for one, said in zip(about, reply, strict=True))
        if call.name == "cancel":
            return f"{self.history.job(call.about)}={'none' if reply is None else reply.status.value}"
        return f"{reply}"

    def _said(self, said: Any) -> str:
        return f"{said.by.value}:{self.history.job(said.job_id)}" if isinstance(said, Existing) else str(said.value)

    def _subject(self, one: Any) -> str:
        if isinstance(one, Job):
            return f"{self.history.job(one.id)}:{one.type}"
        lease = getattr(one, "lease", one)
        kind = "" if lease is one else f":{type(one).__name__}"
        return f"{self.history.lease(lease.job_id, lease.nonce)}{kind}"
