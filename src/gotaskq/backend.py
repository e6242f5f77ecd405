"""The contract of a store: where jobs live and how they change hands.

The engine knows only this; each backend carries it out. What a method means, to the letter, is written as tests in
`gotaskq.testing.conformance`, which every backend passes; the memory backend is the executable specification.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from gotaskq.amendment import Amended, Amendment
from gotaskq.criteria import PayloadCriterion
from gotaskq.job import Job, JobId, Lease, Status
from gotaskq.keys import FoundBy
from gotaskq.outcome import Settlement
from gotaskq.policies.scheduling import Turn
from gotaskq.snowflake import BEYOND_IDS, first_id


class Enqueued(Enum):
    """What became of one job given to `enqueue`."""

    OK = "ok"
    DUPLICATE = "duplicate"  # the same call again: the job is there, once
    COLLISION = "collision"  # another job has this id: draw a new one
    FULL = "full"
    TOO_FAST = "too_fast"  # more jobs come for its queue than the queue's rate limit allows
    NO_QUEUE = "no_queue"
    WITHHELD = "withheld"  # not stored, because another job of the same atomic call could not be
    KEY_REUSED = "key_reused"  # its idempotency key came before, with another request
    KEYS_FULL = "keys_full"  # the store remembers as many requests as it may, and forgets none before its time


class Existing(msgspec.Struct, frozen=True, gc=False):
    """What `enqueue` says of a job in whose place another is there by its key: nothing new was stored."""

    job_id: JobId
    by: FoundBy


EnqueueReply: TypeAlias = Enqueued | Existing


class Extended(Enum):
    """What `extend` says of one lease."""

    HELD = "held"
    LOST = "lost"
    CANCEL_REQUESTED = "cancel_requested"  # held, and somebody asked for the job's end


class Note(msgspec.Struct, frozen=True, gc=False):
    """What a running attempt says of itself; a member that is None leaves what was said before."""

    lease: Lease
    progress: float | None = None  # from 0 to 1
    text: str = ""  # said with the progress
    checkpoint_json: bytes | None = None


class Settled(Enum):
    """What `settle` says of one settlement."""

    OK = "ok"
    ALREADY = "already"  # the same settlement again: it was carried out, once
    LOST = "lost"  # the lease is not the caller's any more: discard what the attempt brought
    CANCELLED = "cancelled"  # the job would have run again, but somebody had asked for its end


class QueueCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of one queue are where; `dead` counts until they are replayed or deleted."""

    ready: int
    scheduled: int
    running: int
    dead: int
    is_paused: bool

    @property
    def depth(self) -> int:
        """Return how many jobs wait: due and not yet due."""
        return self.ready + self.scheduled


class JobQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs to list; a member that is None, or empty, admits all."""

    status: Status | None = None
    queue: str | None = None
    type: str | None = None
    since_ms: int | None = None  # made then or later, by the instant in the id, so that it bounds a walk in their order
    until_ms: int | None = None  # made before then
    text: str | None = None  # in the type, the id or the error, whatever the case
    payload: tuple[PayloadCriterion, ...] = ()

    def admits(self, job: Job) -> bool:
        """Say whether the job is one of those asked for."""
        return (
            self.status in (None, job.status)
            and self.queue in (None, job.queue)
            and self.type in (None, job.type)
            and self.lowest_id <= job.id < self.beyond_id
            and (self.text is None or _has_text(job, self.text))
            and all(criterion.admits(job.payload_json) for criterion in self.payload)
        )

    @property
    def lowest_id(self) -> JobId:
        """The lowest id that may be admitted."""
        return JobId(0) if self.since_ms is None else first_id(self.since_ms)

    @property
    def beyond_id(self) -> JobId:
        """The lowest id above all that may be admitted."""
        return JobId(BEYOND_IDS) if self.until_ms is None else first_id(self.until_ms)


def _has_text(job: Job, text: str) -> bool:
    text = text.casefold()
    return text in job.type.casefold() or text in str(job.id) or text in (job.error or "").casefold()


PAGE_BYTES: Final = 8 << 20  # of payloads and results; else a page of the largest ones would fill the memory


class Page(msgspec.Struct, frozen=True):
    """Some jobs of a listing, and where it goes on; `next_cursor` is None at the end.

    A page may hold fewer jobs than asked for, even none, and still have a cursor: a call looks at a bounded number of
    jobs, and a page that holds PAGE_BYTES is full.
    """

    jobs: list[Job]
    next_cursor: str | None


def weight_of(job: Job) -> int:
    """Return about how many bytes a job brings to a page."""
    return len(job.payload_json) + len(job.result_json or b"")


class Backend(Protocol):
    """Where jobs live. Every method happens whole or not at all, and is safe to repeat.

    The backend owns the clock: callers give durations, never instants. A method that cannot reach the store raises
    BackendUnavailableError; one that names a queue which is not registered raises QueueNotFoundError.
    """

    async def open(self) -> None:
        """Connect, and register the default queue."""
        ...

    async def close(self) -> None:
        """Let go of connections; the jobs stay as the store keeps them."""
        ...

    async def create_queue(self, name: str) -> bool:
        """Register a queue; False when it was there."""
        ...

    async def queues(self) -> Mapping[str, QueueCounts]:
        """Return every registered queue with its counts, sorted by name."""
        ...

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        """Stop or resume giving out the queue's jobs; new ones are still accepted."""
        ...

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> Sequence[EnqueueReply]:
        """Store new PENDING jobs, each whole or not at all; idempotent by id and enqueue nonce.

        With `atomic`, all or none: where one cannot be stored, the others are WITHHELD, but for those that were there
        before (DUPLICATE, Existing). Without, a store that answers for some jobs only raises PartlyStoredError.
        Of the keys of a job the idempotency key counts first: it was stored with a job within `idempotency_ttl_ms`, and
        stands for that one, there or gone. Then its unique key: a job that has it and waits or runs stands for it. Both
        are taken in the same step as the job is stored. A unique key is free again once its job has ended. A store that
        keeps no keys raises InvalidRequestError for a job that has one.
        """
        ...

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        """Lease due jobs, going round the turns until `limit` are taken or none is left; the lowest rank first.

        A turn with nothing to take gives nothing, and the others go on.
        A store may promote in batches: where thousands fall due at once, it ranks those promoted so far.
        """
        ...

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        """Let the leases run `lease_ms` from now; a deadline never moves back."""
        ...

    async def note(self, notes: Sequence[Note]) -> list[Extended]:
        """Keep what running attempts say of themselves, fenced by the lease; of two of one job the later counts."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Carry out what was decided, fenced by the lease; a repeat of the same settlement says ALREADY.

        A Cancel that nobody asked for is not carried out: LOST.
        """
        ...

    async def wait_for_ready(self, queues: Collection[str], *, timeout_s: float) -> None:
        """Return when a job of these queues may be due, or at the timeout; a hint, it may return early."""
        ...

    async def promote(self, *, limit: int) -> int:
        """Move scheduled jobs that are due to ready, at most `limit`; return how many."""
        ...

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        """Take back jobs whose lease ran out, at most `limit`: PENDING again, or DEAD at the `max_crashes`-th crash.

        Those whose next crash would be the last come back one after the other (`job.lapse_together`).
        """
        ...

    async def expire(self, *, limit: int) -> list[Job]:
        """Give up jobs that waited for longer than their schedule timeout, at most `limit`: DEAD, as EXPIRED."""
        ...

    async def get(self, job_id: JobId) -> Job | None:
        """Return the job, or None."""
        ...

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        """List jobs, newest first (dead ones: latest death first), from behind the cursor `after`."""
        ...

    async def cancel(self, job_id: JobId) -> Job | None:
        """Cancel a waiting job, mark a running one as to be cancelled, leave an ended one; None when there is none."""
        ...

    async def amend(self, job_id: JobId, amendment: Amendment) -> Amended | None:
        """Change a job if it waits, in its queue and in what will run; leave any other; None when there is none.

        An amendment with `replays` is for a dead job alone, which is replayed by it as `replay` does.
        """
        ...

    async def replay(self, job_ids: Sequence[JobId]) -> list[Job]:
        """Make dead jobs PENDING on their own queue with fresh counts; ids that are not DEAD are passed over.

        So are those whose unique key another job has by now; else they take it again.
        """
        ...

    async def delete(self, job_ids: Sequence[JobId], *, status: Status | None = None) -> int:
        """Delete jobs that have ended (with `status`: only those in it); return how many."""
        ...

    async def prune(self, *, limit: int) -> int:
        """Delete at most `limit` jobs that are past their retention; return how many."""
        ...


@runtime_checkable
class EnqueuesNow(Protocol):
    """What a backend offers beside `enqueue` when storing never waits: the HTTP fast lane then answers at once."""

    def enqueue_now(self, job: Job) -> EnqueueReply:
        """Do what `enqueue` does with one job, and return when it is done."""
        ...


class LeaseLine(Protocol):
    """A way to the store for one thread: it blocks, shares nothing with the loop, and comes back when it fails."""

    def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended | None]:
        """Do what `Backend.extend` does; None for a lease of which its server said nothing in time.

        Raises BackendUnavailableError when no server said anything.
        """
        ...

    def close(self) -> None:
        """Let go of connections; never raises."""
        ...


@runtime_checkable
class ExtendsFromThread(Protocol):
    """What a backend offers beside `extend` when a thread can reach its store: a blocked loop then loses no lease."""

    def lease_line(self, *, timeout_s: float) -> LeaseLine:
        """Return a line whose calls to a server each fail after `timeout_s`; it connects when it is first used."""
        ...


@runtime_checkable
class ReportsHealth(Protocol):
    """What a backend offers beside the rest when its store can be away: readiness then follows the store."""

    @property
    def is_reachable(self) -> bool:
        """Whether the store answered when it was last asked; no I/O, for it is read often."""
        ...


class Standing(msgspec.Struct, frozen=True):
    """Where a job stands: before its turn, or with whoever holds it."""

    ahead: int | None = None  # due jobs of its queue that go first; None for a job that is not due
    is_exact: bool = True  # else `ahead` is about right
    lease_left_ms: int | None = None  # of one that runs; below 0 where the lease ran out and nobody has noticed yet


@runtime_checkable
class TellsStanding(Protocol):
    """What a backend offers beside the rest when it can say where a job stands, at a cost that does not grow much."""

    async def standing(self, job: Job) -> Standing:
        """Return where a job stands, which was looked at a moment ago."""
        ...


@runtime_checkable
class TellsOfCancels(Protocol):
    """What a backend offers beside the rest when processes far apart share it: holders hear of cancels at once.

    A hint, as `wait_for_ready` is: what is not heard is still said by `extend`.
    """

    def hear_cancels(self, hear: Callable[[JobId], None]) -> None:
        """Let `hear` get, on the event loop, the id of each running job whose end is asked for, from now on."""
        ...


@runtime_checkable
class TellsOfLosses(Protocol):
    """What a backend offers beside the rest when its store can lose its memory while we run, and it notices."""

    def hear_losses(self, hear: Callable[[int], None]) -> None:
        """Let `hear`, and none that was given before, get the number of each partition that lost its jobs."""
        ...


class Finding(msgspec.Struct, frozen=True):
    """One thing a check of the store found: what is so, and what to do about it."""

    severity: Literal["error", "warning", "ok"]  # an error: it will not work; a warning: it may lose or leak something
    what: str
    advice: str = ""


@runtime_checkable
class ChecksItself(Protocol):
    """What a backend offers beside the rest when its store can be set up badly: `gotaskq config --check` asks it."""

    async def check(self) -> list[Finding]:
        """Look at the version and settings of the store, once open; raises BackendUnavailableError.

        No finding holds a secret.
        """
        ...


@runtime_checkable
class IsPartitioned(Protocol):
    """What a backend offers beside the rest when it spreads jobs over partitions, by the partition in their ids."""

    @property
    def partitions(self) -> int:
        """How many partitions new jobs are spread over; the jobs of one atomic call must share one."""
        ...
