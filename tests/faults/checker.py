"""Holds a fault test's end to the invariants, and names the job and the invariant that is broken.

Numbers as in the fault-test plan: I1 nothing accepted is lost, I2 nothing unexpected and nothing twice, I3 one ending a
job, its nonce the last claim's, I4 no two runs at once, I5 each job in exactly one place, I6 counters agree, I7 no more
runs than accounted for and none early, I8 in order, I9 one job for a request however often it comes, I12 nothing
unhandled. I10 is in footprint.py, I11 in recovery.py.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tests.faults.handlers import Run
from tests.faults.history import History
from tests.faults.store import Partition, Store, StoredJob

ENDED: Final = frozenset({"DONE", "DEAD", "CANCELLED"})
CLOCK_GRAIN_MS: Final = 1  # both clocks are this machine's; each is cut to whole milliseconds
NEVER: Final = ("Traceback", "Task was destroyed", "never retrieved", "Unhandled exception")


@dataclass(frozen=True, slots=True)
class Allow:
    """What a test permits beside the rule, because the fault it makes explains it."""

    unfinished: bool = False  # I1: the queues were not drained
    lost: Callable[[int], bool] | None = None  # I1: these accepted jobs may be gone with the store's own writes
    overlap: bool = False  # I4: a holder was paused or cut off, so another could run its job meanwhile
    rewound: bool = False  # I3, I7: the store went back in time, so handlers know of leases that it does not
    strangers: bool = False  # I2: jobs were enqueued without the history
    early: bool = False  # I7: the store's clock was set forward, or a job was asked to run sooner than it was to
    deleted: int = 0  # I6: this many jobs were deleted or pruned


def check(history: History, store: Store, runs: list[Run], *, allow: Allow | None = None) -> None:
    """Raise AssertionError with every invariant that does not hold."""
    broken = violations(history, store, runs, allow=allow or Allow())
    assert not broken, f"{len(broken)} violations:\n" + "\n".join(broken[:50])


def violations(history: History, store: Store, runs: list[Run], *, allow: Allow) -> list[str]:
    """Return what does not hold, a line each."""
    rules = (
        _nothing_lost(history, store, allow),
        _nothing_unexpected(history, store, allow),
        _one_ending(store, runs, allow),
        _no_overlap(runs, allow),
        audit(store, deleted=allow.deleted),
        _runs_accounted_for(store, runs, allow),
        _one_job_a_request(history),
    )
    return [line for rule in rules for line in rule]


def unhandled(stderr: str) -> list[str]:
    """I12: return the lines of a process's stderr that no process of ours may write."""
    return [f"I12: {line}" for line in stderr.splitlines() if any(sign in line for sign in NEVER)]


def _nothing_lost(history: History, store: Store, allow: Allow) -> Iterator[str]:
    jobs = store.jobs()
    for job_id, key in history.accepted.items():
        job = jobs.get(job_id)
        if job is None:
            if allow.lost is None or not allow.lost(job_id):
                yield f"I1: job {job_id} ({key}) was accepted and is gone"
        elif job.status not in ENDED and not allow.unfinished:
            yield f"I1: job {job_id} ({key}) has not ended; it is {job.status} {job.fields}"


def _nothing_unexpected(history: History, store: Store, allow: Allow) -> Iterator[str]:
    seen: Counter[str] = Counter()
    asked = history.unknown.keys() | history.under_way
    for job in store.jobs().values():
        key = _key_of(job)
        seen[key] += 1
        if key in history.refused:
            yield f"I2: job {job.id} ({key}) was refused ({history.refused[key]}) and is stored"
        elif job.id not in history.accepted and key not in asked and not allow.strangers:
            yield f"I2: job {job.id} ({key!r}) was never asked for"
    yield from (f"I2: {count} jobs carry the key {key}" for key, count in seen.items() if key and count > 1)


def _one_job_a_request(history: History) -> Iterator[str]:
    for key, job_ids in history.answers.items():
        if len(job_ids) > 1:
            yield f"I9: the request {key} was answered with jobs {sorted(job_ids)}"


def _key_of(job: StoredJob) -> str:
    payload = json.loads(job.payload)
    return str(payload.get("key", "")) if isinstance(payload, dict) else ""


def _one_ending(store: Store, runs: list[Run], allow: Allow) -> Iterator[str]:
    ended = {(run.job_id, run.nonce) for run in runs if run.ended_s is not None}
    for job in store.jobs().values():
        if job.status == "DONE" and (job.id, job.fields.get("lt", "")) not in ended and not allow.rewound:
            yield f"I3: job {job.id} is DONE under nonce {job.fields.get('lt')!r}, with which no handler ended"
        if job.status == "RUNNING" and not job.fields.get("tk"):
            yield f"I3: job {job.id} is RUNNING and nobody holds its lease"
        if job.status != "RUNNING" and job.fields.get("tk"):
            yield f"I3: job {job.id} is {job.status} and still has the lease {job.fields['tk']!r}"


def _no_overlap(runs: list[Run], allow: Allow) -> Iterator[str]:
    if allow.overlap:
        return
    last: dict[int, Run] = {}
    for run in runs:
        before = last.get(run.job_id)
        if before is not None and before.ended_s is not None and before.ended_s > run.started_s:
            yield f"I4: job {run.job_id} began under {run.nonce} in {run.pid} while {before.nonce} ran in {before.pid}"
        last[run.job_id] = run


def audit(store: Store, *, deleted: int = 0) -> list[str]:
    """I5 and I6: return where the store does not agree with itself."""
    return [line for partition in store.partitions.values() for line in _Audit(partition, deleted).lines()]


@dataclass(slots=True)
class _Audit:
    """The audit of one partition."""

    partition: Partition
    deleted: int
    found: dict[int, list[str]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Give a line for each thing that is wrong."""
        for place, members in self.partition.places.items():
            if place not in ("ids", "exp", "own"):
                for job_id in members:
                    self.found.setdefault(job_id, []).append(place)
        yield from (f"I5: unknown key {name}" for name in self.partition.unknown_keys)
        for board, (listed, digests, bodies) in sorted(self.partition.boards.items()):
            partial = (listed | digests | bodies) - (listed & digests & bodies)
            yield from (f"I5: of notice {key} on board {board} there is but a part" for key in sorted(partial))
        yield from (f"I5: job {job_id} has state {fields} and no body" for job_id, fields in self._orphans())
        yield from self._members_without_a_job()
        for job in self.partition.jobs.values():
            yield from self._misplaced(job)
        yield from self._patience()
        yield from self._unique_keys()
        yield from self._own_times()
        yield from self._counters()

    def _orphans(self) -> list[tuple[int, dict[str, str]]]:
        return sorted(self.partition.orphans.items())

    def _members_without_a_job(self) -> Iterator[str]:
        jobs = self.partition.jobs.keys()
        for job_id in sorted(self.found.keys() - jobs):
            yield f"I5: job {job_id} is in {self.found[job_id]} and has no body"
        ids = self.partition.places.get("ids", {}).keys()
        yield from (f"I5: job {job_id} is in the index of ids and has no body" for job_id in sorted(ids - jobs))
        yield from (f"I5: job {job_id} is missing from the index of ids" for job_id in sorted(jobs - ids))

    def _misplaced(self, job: StoredJob) -> Iterator[str]:
        found = self.found.get(job.id, [])
        allowed = _places_of(job)
        if len(found) != 1 or found[0] not in allowed:
            yield f"I5: job {job.id} is {job.status} and in {found}; it belongs in one of {sorted(allowed)}"
            return
        [place] = found
        score = self.partition.places[place][job.id]
        expected = {"rdy": job.rank, "dly": job.count("ra") or job.created_at_ms + job.delay_ms}.get(place[:3])
        if expected is not None and score != expected:
            yield f"I5: job {job.id} has score {score:.0f} in {place}; it should be {expected}"

    def _own_times(self) -> Iterator[str]:
        for job_id in sorted(self.partition.places.get("own", {})):
            job = self.partition.jobs.get(job_id)
            if job is None or job.status not in ENDED:
                status = "gone" if job is None else job.status
                yield f"I5: job {job_id} is {status} and has an instant at which it is forgotten"

    def _patience(self) -> Iterator[str]:
        real = {
            job.id: job.count("ra") + job.schedule_ms
            for job in self.partition.jobs.values()
            if job.status == "PENDING" and job.schedule_ms
        }
        watched = self.partition.places.get("exp", {})
        for job_id in sorted(real.keys() | watched.keys()):
            if watched.get(job_id) != real.get(job_id):
                yield f"I5: job {job_id} is to expire at {watched.get(job_id)}; it should be {real.get(job_id)}"

    def _unique_keys(self) -> Iterator[str]:
        alive = [job for job in self.partition.jobs.values() if job.status not in ENDED and job.fields.get("uq")]
        held = self.partition.unique_keys
        for job in alive:
            if int(held.get(job.fields["uq"], 0)) != job.id:
                yield f"I5: job {job.id} is {job.status} and its unique key {job.fields['uq']!r} is {held}'s"
        for key in sorted(held.keys() - {job.fields["uq"] for job in alive}):
            yield f"I5: the unique key {key!r} is kept for {held[key]}, which does not wait or run"

    def _counters(self) -> Iterator[str]:
        counted = self.partition.counters
        real = {"enq": len(self.partition.jobs) + self.deleted}
        for job in self.partition.jobs.values():
            family = {"RUNNING": "r", "DEAD": "d"}.get(job.status)
            if family:
                real[f"{family}:{job.queue}"] = real.get(f"{family}:{job.queue}", 0) + 1
        names = {name for name in counted if name[:2] in ("r:", "d:")} | real.keys()
        for name in sorted(names):
            if counted.get(name, 0) != real.get(name, 0):
                yield f"I6: counter {name} says {counted.get(name, 0)}; there are {real.get(name, 0)}"
        done = sum(job.status == "DONE" for job in self.partition.jobs.values())
        if not done <= counted.get("done", 0) <= done + self.deleted:
            yield f"I6: counter done says {counted.get('done', 0)}; {done} jobs are DONE, {self.deleted} were deleted"


def _places_of(job: StoredJob) -> set[str]:
    match job.status:
        case "PENDING":
            return {f"rdy:{job.queue}", f"dly:{job.queue}"}
        case "RUNNING":
            return {"run"}
        case "DEAD":
            return {"dlq"}
        case _:
            return {"fin"}


def _runs_accounted_for(store: Store, runs: list[Run], allow: Allow) -> Iterator[str]:
    jobs = store.jobs()
    counts = Counter(run.job_id for run in runs)
    for run in runs:
        if run.starts > 1:
            yield f"I7: the lease {run.nonce} of job {run.job_id} was run {run.starts} times"
        job = jobs.get(run.job_id)
        if job and not allow.early and run.started_at_ms + CLOCK_GRAIN_MS < job.created_at_ms + job.delay_ms:
            yield f"I7: job {run.job_id} ran {job.created_at_ms + job.delay_ms - run.started_at_ms} ms too early"
    for job in jobs.values():
        if job.count("rt") > job.max_retries:
            yield f"I7: job {job.id} was retried {job.count('rt')} times; max_retries is {job.max_retries}"
        allowed = 1 + job.count("rt") + job.count("cr") + job.count("rl")
        if counts[job.id] > allowed and not job.count("rp") and not allow.rewound:
            yield f"I7: job {job.id} ran {counts[job.id]} times; {job.fields} accounts for {allowed}"


def disordered(store: Store, runs: Sequence[Run]) -> list[str]:
    """I8: return where a job started before another that was its turn: priority first, then the older id.

    Holds for one worker with one slot, no faults, and jobs that were all there and due before it began; in each
    partition and queue by itself.
    """
    lines: dict[tuple[str, str], list[StoredJob]] = {}
    partitions = {job_id: part for part in store.partitions.values() for job_id in part.jobs}
    for job_id in dict.fromkeys(run.job_id for run in runs):
        job = partitions[job_id].jobs[job_id]
        lines.setdefault((partitions[job_id].tag, job.queue), []).append(job)
    return [
        f"I8: in {queue} of {tag}, job {job.id} of priority {job.priority} started before {then.id} of {then.priority}"
        for (tag, queue), started in lines.items()
        for job, then in pairwise(started)
        if (-job.priority, job.id) > (-then.priority, then.id)
    ]
