"""Settlements and notes as their scripts take them.

A settlement: kind, id, nonce, and two members that depend on the kind. A note: id, nonce, progress and checkpoint.
"""

from typing import TypeAlias, assert_never

from gotaskq.backend import Note
from gotaskq.backends.redis.keys import member
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule, Settlement

Arguments: TypeAlias = tuple[str, str, str, str | bytes | int, str]
NoteArguments: TypeAlias = tuple[str, str, str, bytes]


def settlement_arguments(settlement: Settlement) -> Arguments:
    """Return the five arguments of a settlement."""
    lease = settlement.lease
    match settlement:
        case Complete(result_json=result_json):
            return "C", member(lease.job_id), lease.nonce, result_json or "", ""
        case Reschedule(delay_ms=delay_ms, error=error, traceback=traceback):
            return "R", member(lease.job_id), lease.nonce, delay_ms, f"{error}\n{traceback}"
        case DeadLetter(reason=reason, error=error, traceback=traceback):
            return "D", member(lease.job_id), lease.nonce, reason.value, f"{error}\n{traceback}"
        case Release(delay_ms=delay_ms, is_unhandled=is_unhandled):
            return "L", member(lease.job_id), lease.nonce, delay_ms, "1" if is_unhandled else ""
        case Cancel():
            return "X", member(lease.job_id), lease.nonce, "", ""
        case never:
            assert_never(never)


def settlement_bytes(settlement: Settlement) -> int:
    """Return about how many bytes a settlement brings beside what each does."""
    if isinstance(settlement, Complete):
        return len(settlement.result_json or b"")
    return len(settlement.traceback) if isinstance(settlement, Reschedule | DeadLetter) else 0


def note_arguments(note: Note) -> NoteArguments:
    """Return the four arguments of a note."""
    progress = "" if note.progress is None else f"{float(note.progress)!r}\t{note.text}"
    return member(note.lease.job_id), note.lease.nonce, progress, note.checkpoint_json or b""


def note_bytes(note: Note) -> int:
    """Return about how many bytes a note brings."""
    return len(note.text) + len(note.checkpoint_json or b"")
