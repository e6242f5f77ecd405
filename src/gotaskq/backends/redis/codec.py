"""How a job is written: a record, which changes only while the job waits (amend.lua), a state, and a trail.

The record is made at enqueue: rank, instant, nonce and what many jobs have in common, each ended by a tab, a NUL, and
the payload's bytes as they came. Parts that few jobs have come last, each with a letter before it; a reader passes over
letters it does not know. The state is thirteen words with tabs between them, and for a result a NUL and the result; it
is missing until something happens to the job. The trail is a hash of what happens to few jobs. No script looks into a
payload.
Invariant: what is read back equals what was written, to the byte.
"""

import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

from msgspec.structs import replace

from gotaskq.job import (
    CANCELLED,
    DEAD,
    DONE,
    NO_TIMEOUTS,
    PENDING,
    RUNNING,
    DeathReason,
    Job,
    JobId,
    Lease,
    Status,
    Timeouts,
)
from gotaskq.keys import NO_KEYS, Keys
from gotaskq.trail import NO_TRAIL, Attempt, Trail

Row: TypeAlias = Sequence[Any]  # id, record or None; where something happened its state, and its trail as a flat list
UNTOUCHED: Final = 2  # parts of a row whose job is as it was stored

STATES: Final[dict[bytes, Status]] = {b"P": PENDING, b"R": RUNNING, b"D": DONE, b"X": DEAD, b"C": CANCELLED}
LETTERS: Final[dict[Status, str]] = {status: letter.decode() for letter, status in STATES.items()}
KINDS: Final = 4_096  # of jobs whose common part is remembered
HISTORY: Final = tuple(f"h{place}".encode() for place in range(5))  # attempt n that failed is in place n % 5
BRACED: Final = b"{"
BRACE: Final = BRACED[0]  # a number is found in bytes three times as fast as bytes are
HEADERS: Final = b"\th" + BRACED  # how headers begin; their JSON has no tab and no NUL
PLAIN_VERSION: Final = 1  # of a record that does not say which


def encode_record(job: Job) -> bytes:
    """Return the record of a new job."""
    kind = _kind(job.type, job.queue, job.priority, job.delay_ms, job.max_retries, job.timeouts, job.version)
    if job.headers_json is not None:  # not among what is remembered: hardly two jobs share a trace
        kind += b"\th" + job.headers_json
    head = b"%d\t%d\t%b\t%b\0" % (job.rank, job.created_at_ms, job.enqueue_nonce.encode(), kind)
    return head + job.payload_json


@lru_cache(KINDS)
def _kind(
    job_type: str, queue: str, priority: int, delay_ms: int, max_retries: int, timeouts: Timeouts, version: int
) -> bytes:
    kind = f"{job_type}\t{queue}\t{priority}\t{delay_ms}\t{max_retries}"
    if timeouts.execution_ms:
        kind += f"\tt{timeouts.execution_ms}"
    if timeouts.schedule_ms:
        kind += f"\ts{timeouts.schedule_ms}"
    if version > PLAIN_VERSION:
        kind += f"\tv{version}"
    return kind.encode()


def decode_job(row: Row) -> Job | None:
    """Return the job of a row as it stands; None where there is none."""
    if row[1] is None:
        return None
    job = _decode_record(row[0], row[1])
    return _with_state(job, *row[2:]) if len(row) > UNTOUCHED else job


def decode_leased(row: Row, *, nonce: str, worker: str, now_ms: int) -> Job:
    """Return the job of a row that was leased just now; the row has the state before."""
    if len(row) == UNTOUCHED:  # as nearly all are: one job made, not two (benchmarks: redis_library)
        return _decode_record(
            row[0],
            row[1],
            status=RUNNING,
            attempt=1,
            lease=Lease(JobId(int(row[0])), nonce),
            worker=worker,
            started_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
    job = _with_state(_decode_record(row[0], row[1]), *row[2:])
    return replace(
        job,
        status=RUNNING,
        attempt=job.attempt + 1,
        lease=Lease(job.id, nonce),
        worker=worker,
        started_at_ms=now_ms,
        updated_at_ms=now_ms,
    )


def _decode_record(job_id: bytes, record: bytes, **changed: Any) -> Job:
    head, _, payload = record.partition(b"\0")
    rank, created_at, nonce, kind = head.split(b"\t", 3)
    created_at_ms = int(created_at)
    return replace(
        _mould_with_headers(kind) if BRACE in kind else _mould(kind),
        id=JobId(int(job_id)),
        payload_json=payload,
        rank=int(rank),
        created_at_ms=created_at_ms,
        run_after_ms=created_at_ms,
        enqueue_nonce=_text(nonce),
        **({"updated_at_ms": created_at_ms} | changed),
    )


def _mould_with_headers(kind: bytes) -> Job:
    before, found, behind = kind.partition(HEADERS)
    headers, tab, others = behind.partition(b"\t")
    mould = _mould(before + tab + others)
    return replace(mould, headers_json=BRACED + headers) if found else mould


@lru_cache(KINDS)
def _mould(kind: bytes) -> Job:
    """Return a job of this kind with nothing of its own."""
    job_type, queue, priority, delay_ms, max_retries, *rare = kind.decode().split("\t")
    parts = {part[:1]: part[1:] for part in rare}
    execution_ms, schedule_ms = int(parts.get("t", 0)), int(parts.get("s", 0))
    return Job(
        id=JobId(0),
        type=sys.intern(job_type),
        queue=sys.intern(queue),
        payload_json=b"",
        priority=int(priority),
        delay_ms=int(delay_ms),
        max_retries=int(max_retries),
        rank=0,
        created_at_ms=0,
        updated_at_ms=0,
        run_after_ms=0,
        enqueue_nonce="",
        timeouts=Timeouts(execution_ms, schedule_ms) if execution_ms or schedule_ms else NO_TIMEOUTS,
        version=int(parts.get("v", PLAIN_VERSION)),
    )


@lru_cache(KINDS)
def _text(nonce: bytes) -> str:
    return nonce.decode()


def _with_state(job: Job, text: bytes, fields: Sequence[bytes]) -> Job:
    words, has_result, result = text.partition(b"\0")
    status, attempt, nonce, settled, worker, _, *others = words.split(b"\t")
    started, updated, due, finished, cancelled, _, unique_key = others
    names_and_values = iter(fields)
    trail = dict(zip(names_and_values, names_and_values, strict=True))
    reason = trail.get(b"dr")
    return replace(
        job,
        status=STATES[status],
        retry_count=_count(trail, b"rt"),
        attempt=int(attempt or 0),
        crashes=_count(trail, b"cr"),
        releases=_count(trail, b"rl"),
        replays=_count(trail, b"rp"),
        updated_at_ms=_instant(updated) or job.updated_at_ms,
        run_after_ms=_instant(due) or job.run_after_ms,
        started_at_ms=_instant(started),
        finished_at_ms=_instant(finished),
        unhandled_since_ms=_instant(trail.get(b"uh")),
        error=_words(trail.get(b"er")),
        death_reason=DeathReason(reason.decode()) if reason else None,
        lease=Lease(job.id, nonce.decode()) if nonce else None,
        settled_nonce=_words(settled),
        worker=_words(worker),
        is_cancel_requested=cancelled == b"1",
        keys=Keys(unique_key.decode()) if unique_key else NO_KEYS,
        trail=_trail(trail),
        result_json=result if has_result else None,
    )


def _trail(fields: dict[bytes, bytes]) -> Trail:
    history = [kept for place in HISTORY if (kept := fields.get(place))]
    progress, checkpoint, replayed_at_ms = fields.get(b"pg"), fields.get(b"ck"), _instant(fields.get(b"ry"))
    if not history and progress is None and checkpoint is None and replayed_at_ms is None:
        return NO_TRAIL
    fraction, _, note = (progress or b"").partition(b"\t")
    return Trail(
        attempts=_attempts(history),
        progress=float(fraction) if fraction else None,
        note=note.decode(errors="replace"),
        checkpoint_json=checkpoint,
        replayed_at_ms=replayed_at_ms,
    )


def _attempts(history: Iterable[bytes]) -> tuple[Attempt, ...]:
    attempts = map(_attempt, history)
    return tuple(sorted(attempts, key=lambda attempt: attempt.number))


def _attempt(kept: bytes) -> Attempt:
    number, started_at_ms, ended_at_ms, worker, failure = kept.decode(errors="replace").split("\t", 4)
    error, _, traceback = failure.partition("\n")
    return Attempt(int(number), int(started_at_ms), int(ended_at_ms), worker, error, traceback)


def _count(fields: dict[bytes, bytes], name: bytes) -> int:
    return int(fields.get(name, 0))


def _instant(word: bytes | None) -> int | None:
    return int(word) if word else None


def _words(text: bytes | None) -> str | None:
    return text.decode(errors="replace") if text else None


def rows_of(reply: object) -> list[Row]:
    """Return a script's reply as rows."""
    return cast("list[Row]", reply)
