"""A push: what runs the jobs of one type by a POST to a URL.

Made by `TaskQ.push` and of the entries of a PUSH_FILE.
Invariant: neither its repr nor an error shows a secret, a header's value, or more of the URL than its origin.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from gotaskq.delivery.deliveries import OWN_HEADERS, Deliveries
from gotaskq.delivery.destination import read_url
from gotaskq.delivery.signing import ID, SIGNATURE, TIMESTAMP, read_secret
from gotaskq.headers import TRACEPARENT, trace_of
from gotaskq.job import Job

MAX_TIMEOUT_S: Final = 3_600.0
MAX_SECRETS: Final = 4  # the present one, the last one, and room for a mistake
OURS: Final = frozenset(
    {ID, TIMESTAMP, SIGNATURE, TRACEPARENT, "host", "content-length", "transfer-encoding", "connection", *OWN_HEADERS}
) - {"user-agent"}

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VALUE = re.compile(r"[!-~](?:[ -~]{0,4094}[!-~])?")


class Push:
    """Runs jobs of one type; raises ValueError or DestinationError for what nobody could be sent to with."""

    def __init__(
        self,
        job_type: str,
        url: str,
        *,
        secrets: Sequence[str],
        deliveries: Callable[[], Deliveries],
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.job_type = job_type
        self.origin = read_url(url).origin
        self.url = url
        self._secrets = _checked_secrets(secrets)
        self._headers = {name.lower(): _checked_header(name, value) for name, value in (headers or {}).items()}
        if timeout_s is not None and not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise ValueError(f"the timeout is {timeout_s!r}; it must be more than 0 and at most {MAX_TIMEOUT_S:g} s")
        self._timeout_s = timeout_s
        self._deliveries = deliveries

    def __repr__(self) -> str:
        """Show the job type and where its jobs go, without what may be secret."""
        return f"<push {self.job_type!r} to {self.origin}>"

    async def run(self, job: Job) -> object:
        """Run one attempt; returns and raises as `Deliveries.post`."""
        trace = trace_of([job.headers.get(TRACEPARENT, "")]) if job.headers_json else None
        return await self._deliveries().post(
            self.url,
            body_of(job),
            message_id=str(job.id),
            secrets=self._secrets,
            headers=self._headers if trace is None else {**self._headers, TRACEPARENT: trace},
            timeout_s=self._timeout_s,
            count_as=job.type,
        )


def body_of(job: Job) -> bytes:
    """Return what a receiver gets of a job: the words of `GET /jobs/{id}`, and the payload as it was sent."""
    return msgspec.json.encode(
        {
            "id": str(job.id),
            "type": job.type,
            "queue": job.queue,
            "attempt": job.attempt,
            "max_retries": job.max_retries,
            "created_at": datetime.fromtimestamp(job.created_at_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6]
            + "Z",
            "headers": job.headers,
            "payload": msgspec.Raw(job.payload_json),
        }
    )


def _checked_secrets(secrets: Sequence[str]) -> tuple[str, ...]:
    if isinstance(secrets, str) or not 1 <= len(secrets) <= MAX_SECRETS:
        raise ValueError(f"secrets must be a list of 1 to {MAX_SECRETS}: receivers know by them that it is you")
    for secret in secrets:
        read_secret(secret)
    return tuple(secrets)


def _checked_header(name: str, value: str) -> str:
    if _NAME.fullmatch(name) is None or name.lower() in OURS:
        raise ValueError(f"header {name[:64]!r} is not one that can be chosen; ours are {', '.join(sorted(OURS))}")
    if _VALUE.fullmatch(value) is None:
        raise ValueError(f"the value of header {name!r} must be 1 to 4096 printable ASCII characters")
    return value
