"""What attempts leave behind on a job: how the last ones ended, how far the present one is, and where to go on.

Made by the job's transitions, shown to handlers and callers.
Invariant: bounded, whatever a handler does: five attempts, a traceback of 4 KiB each, 64 KiB of checkpoint.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

KEPT_ATTEMPTS: Final = 5  # enough to see a pattern; more is a log's business
MAX_TRACEBACK_BYTES: Final = 4_096
MAX_NOTE_BYTES: Final = 256
MAX_STATE_BYTES: Final = 65_536  # of a checkpoint and of a result, as JSON; more belongs where files are kept


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt that failed, or whose worker vanished: `number` as in `job.attempt`, instants as in Job."""

    number: int
    started_at_ms: int
    ended_at_ms: int
    worker: str
    error: str
    traceback: str = ""


class Trail(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a job's attempts; the oldest of `attempts` first.

    `progress` (0 to 1) and `note` are the running attempt's, or those of the one that ended the job; `checkpoint_json`
    is the latest of any. `replayed_at_ms` is when the job came back from the dead last: here and not in the job, so
    that it costs nothing for those that never died.
    """

    attempts: tuple[Attempt, ...] = ()
    progress: float | None = None
    note: str = ""
    checkpoint_json: bytes | None = None
    replayed_at_ms: int | None = None


NO_TRAIL: Final = Trail()


def with_attempt(trail: Trail, attempt: Attempt) -> Trail:
    """Add an attempt that ended badly; the oldest beyond those kept go."""
    return replace(trail, attempts=(*trail.attempts, attempt)[-KEPT_ATTEMPTS:])


def without_progress(trail: Trail) -> Trail:
    """Forget how far the attempt was: another will begin anew."""
    return trail if trail.progress is None and not trail.note else replace(trail, progress=None, note="")


def brought_back(trail: Trail, *, now_ms: int) -> Trail:
    """Note that the job came back from the dead; what its attempts left stays, but for the progress of the last."""
    return replace(trail, progress=None, note="", replayed_at_ms=now_ms)
