"""The work every reference server does for one `POST /jobs`: decode, number, rank, encode.

Nothing is stored or run. Shared, so that the references differ only in how they speak HTTP.
Invariant: the answer has the members of a pending Job as the service sends it, in the same order.
"""

from heapq import heappush
from time import gmtime, strftime, time, time_ns
from typing import Annotated

import msgspec

EMPTY_PAYLOAD = msgspec.Raw(b"null")
HIGHEST_PRIORITY = 10
SAMPLE_BODY = b'{"type":"logger","payload":{"msg":"hello"},"priority":5,"delay":0,"max_retries":5}'


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /jobs`."""

    type: Annotated[str, msgspec.Meta(min_length=1)]
    payload: msgspec.Raw = EMPTY_PAYLOAD
    priority: Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_PRIORITY)] = 5
    delay: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_retries: Annotated[int, msgspec.Meta(ge=0)] = 5


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The Job that `POST /jobs` answers with."""

    id: str
    type: str
    payload: msgspec.Raw
    status: str
    priority: int
    delay: int
    max_retries: int
    retry_count: int
    created_at: str
    updated_at: str
    run_after: str


class Desk:
    """Takes submissions in; keeps only their ranks, in a heap."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(Submission).decode
        self._encode = msgspec.json.Encoder().encode
        self._ranks: list[int] = []
        self._last_id = time_ns()
        self._second = 0
        self._second_text = ""

    def submit(self, body: bytes) -> bytes:
        """Answer one submission; raises msgspec.MsgspecError when the body is no valid one."""
        submission = self._decode(body)
        self._last_id = job_id = self._last_id + 1
        heappush(self._ranks, (HIGHEST_PRIORITY - submission.priority) << 64 | job_id)
        now_ms = int(time() * 1000)
        now_text = self._iso(now_ms)
        delay = submission.delay
        return self._encode(
            Answer(
                id=str(job_id),
                type=submission.type,
                payload=submission.payload,
                status="PENDING",
                priority=submission.priority,
                delay=delay,
                max_retries=submission.max_retries,
                retry_count=0,
                created_at=now_text,
                updated_at=now_text,
                run_after=self._iso(now_ms + delay * 1000) if delay else now_text,
            )
        )

    def _iso(self, instant_ms: int) -> str:
        second, ms = divmod(instant_ms, 1000)
        if second != self._second:
            self._second = second
            self._second_text = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        return f"{self._second_text}.{ms:03d}Z"


def encode_error(error: Exception) -> bytes:
    """Write the body of an answer to a submission that cannot be used."""
    return msgspec.json.encode({"error": str(error)})
