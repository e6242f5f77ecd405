"""How a POST ended (Ending), and what that means for its job (Verdict).

Both unions are closed. Pure; `judge` is the table that the documentation shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias, assert_never

import msgspec

from gotaskq.errors import InvalidRequestError, PayloadDecodeError
from gotaskq.payload import check_payload, decode_payload
from gotaskq.trail import MAX_STATE_BYTES

MAX_BODY_BYTES: Final = MAX_STATE_BYTES  # what a job keeps as its result; more of an answer is not read
SHOWN_CHARS: Final = 200
LEAST_WAIT_S: Final = 1.0  # Retry-After: 0 must not make a loop without a pause
TRY_AGAIN: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """The destination answered; `body` is cut at MAX_BODY_BYTES, and `is_whole` says whether that was all."""

    status: int
    body: bytes = b""
    is_whole: bool = True
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """It could not be reached, did not answer in time, or broke off."""

    reason: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Nothing was sent: it may not be delivered to."""

    reason: str


Ending: TypeAlias = Answer | NoAnswer | Forbidden


@dataclass(frozen=True, slots=True)
class Done:
    """The job is done."""

    result: object | None


@dataclass(frozen=True, slots=True)
class Wait:
    """The destination asks to be spared: neither a failure nor an attempt."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Again:
    """The attempt failed."""

    error: str


@dataclass(frozen=True, slots=True)
class Dead:
    """No further attempt would help."""

    error: str


Verdict: TypeAlias = Done | Wait | Again | Dead


def judge(ending: Ending, *, now_ms: int) -> Verdict:
    """Say what becomes of the job."""
    match ending:
        case Answer(status=status) if 200 <= status < 300:
            return Done(_result(ending))
        case Answer(status=429 | 503, retry_after=str(text)) if (delay_s := wait_s(text, now_ms=now_ms)) is not None:
            return Wait(delay_s)
        case Answer(status=status) if status in TRY_AGAIN or status >= 500:
            return Again(_said(ending))
        case Answer():
            return Dead(_said(ending))
        case NoAnswer(reason):
            return Again(reason)
        case Forbidden(reason):
            return Dead(reason)
        case never:
            assert_never(never)


def is_at_fault(ending: Ending) -> bool:
    """Whether the destination is to blame; what it refuses or asks for shows that it is there."""
    return isinstance(ending, NoAnswer) or (isinstance(ending, Answer) and ending.status >= 500)


def wait_s(text: str, *, now_ms: int) -> float | None:
    """Return for how long `Retry-After` asks, at least 1 s: seconds, or an HTTP date; None where it is neither."""
    if text.isascii() and text.isdecimal():
        asked_s = float(text[:9])
    else:
        try:
            asked_s = parsedate_to_datetime(text).timestamp() - now_ms / 1000
        except (ValueError, TypeError, OverflowError):
            return None
    return max(asked_s, LEAST_WAIT_S)


def hide(text: str, headers: Mapping[str, str]) -> str:
    """Return a text without what our own headers hold: a destination may answer with what it was sent."""
    for value in headers.values():
        if len(value) >= 8:
            text = text.replace(value, "***")
    return text


def _result(answer: Answer) -> object | None:
    """Return what the destination answered, where it is JSON and all there."""
    if not answer.is_whole or not answer.body:
        return None
    try:
        msgspec.json.decode(answer.body, type=msgspec.Raw)
        check_payload(answer.body)
        return decode_payload(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidRequestError, PayloadDecodeError):
        return None


def _said(answer: Answer) -> str:
    said = answer.body[: 4 * SHOWN_CHARS].decode("utf-8", "replace").strip()[:SHOWN_CHARS]
    return f"HTTP {answer.status}" + (f": {said}" if said else "")
