"""Frames: all of a body but its payload, judged once.

Clients send bodies that differ in their payload only. A frame is what stands before and after it; whoever sends a
known one again has only the payload checked and cut out (benchmarks/questions/http_ingestion.py).
Invariant: what `match` returns is what the decoder and admission would make of the body; when in doubt it is None.
"""

from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from gotaskq.api.schemas import decode_submission
from gotaskq.engine.admission import Admission
from gotaskq.engine.requests import JobRequest
from gotaskq.job import Job
from gotaskq.payload import BACKSLASH, SHORT_PAYLOAD_BYTES, check_payload

MARK: Final = b'"payload":'
NO_FRAMES: Final = ()
PROBE: Final = b'"probe"'
WHITESPACE: Final = b" \t\r\n"
MAX_FRAME_BYTES: Final = 512
MAX_TAILS: Final = 8  # frames that begin alike are tried in turn
MAX_HEADS: Final = 1_024  # with their tails at most 8 MiB; forgotten all at once when full

_check_json = msgspec.json.Decoder(Raw).decode


class Frame(NamedTuple):
    """What follows the payload, and the mould of the jobs."""

    tail: bytes
    mould: Job


class Frames:
    """The frames one door has seen."""

    def __init__(self, door: Admission) -> None:
        self._door = door
        self._frames: dict[tuple[str | None, bytes], list[Frame]] = {}
        door.forget_with(self._frames.clear)

    def match(self, body: bytes, queue: str | None) -> tuple[Job, bytes] | None:
        """Return the mould and the payload of a body with a known frame; raises InvalidRequestError for the payload."""
        head, _, rest = body.partition(MARK)
        for tail, mould in self._frames.get((queue, head), NO_FRAMES):
            payload_bytes = len(rest) - len(tail)
            if rest[payload_bytes:] == tail:
                payload = rest[:payload_bytes].strip(WHITESPACE)
                try:
                    _check_json(payload)
                except (msgspec.MsgspecError, RecursionError):
                    return None
                if not payload.isascii():
                    return None
                if payload_bytes > SHORT_PAYLOAD_BYTES or BACKSLASH in payload:
                    check_payload(payload)
                return mould, payload
        return None

    def learn(self, body: bytes, queue: str | None, request: JobRequest) -> None:
        """Remember the frame of a body that was taken as this request, which has no keys: those are of one job."""
        if request.headers is not None:  # no two are alike, so a frame with them would serve once
            return
        head, mark, rest = body.partition(MARK)
        payload = bytes(request.payload)
        rest = rest.lstrip(WHITESPACE)
        tail = rest[len(payload) :]
        if not mark or not rest.startswith(payload) or len(head) + len(tail) > MAX_FRAME_BYTES or payload == PROBE:
            return
        # The mark may stand elsewhere, in an inner object: only where another value there is another payload, and
        # nothing else, it is the payload's place.
        if bytes(decode_submission(head + mark + PROBE + tail, queue).payload) != PROBE:
            return
        if len(self._frames) >= MAX_HEADS and (queue, head) not in self._frames:
            self._frames.clear()
        frames = self._frames.setdefault((queue, head), [])
        if len(frames) < MAX_TAILS:
            frames.append(Frame(tail, self._door.mould(request)))
            frames.sort(key=lambda frame: -len(frame.tail))  # one may end like another: `}` after `,"delay":0}`
