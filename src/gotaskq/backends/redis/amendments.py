"""Amendments as their script takes them: the job's id, and eight members of which those that stay are empty."""

from typing import Any

from gotaskq.amendment import Amended, Amendment
from gotaskq.backends.redis.codec import decode_job
from gotaskq.backends.redis.keys import member
from gotaskq.job import JobId


def amendment_arguments(job_id: JobId, amendment: Amendment) -> tuple[str | bytes | int, ...]:
    """Return the nine arguments of an amendment."""
    numbers = (
        *(amendment.delay_ms, amendment.rank, amendment.priority, amendment.max_retries),
        *(amendment.execution_ms, amendment.schedule_ms),
    )
    changes = ("" if number is None else number for number in numbers)
    replays = "" if amendment.replays is None else amendment.replays
    return (member(job_id), *changes, amendment.payload_json or b"", replays)


def read_amended(reply: Any) -> Amended | None:
    """Return what the script replied."""
    is_amended, row = reply
    job = decode_job(row)
    return None if job is None else Amended(job, is_amended == b"1")
