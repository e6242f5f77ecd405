"""What a callback says: a CloudEvent of a job's end, as JSON.

Pure. Invariant: a message fits into a checkpoint, so that each retry sends the same bytes, whatever became of the job
in the meantime.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Raw

from gotaskq.callback import CALLBACK_HEADER, Errand
from gotaskq.job import Job

SOURCE: Final = "gotaskq"
GONE: Final = "gotaskq.job.gone"
MAX_RESULT_BYTES: Final = 48 * 1024  # the rest of a message is far below the 16 KiB that are left of a checkpoint


def message_of(job: Job, *, message_id: int) -> bytes:
    """Return what is said of a job that has ended.

    Without its payload: whoever asked for the callback sent that, and it may be large or secret.
    """
    result_json = job.result_json or b""
    is_result_left_out = len(result_json) > MAX_RESULT_BYTES
    members: dict[str, Any] = {
        "id": str(job.id),
        "type": job.type,
        "queue": job.queue,
        "status": job.status.value,
        "attempt": job.attempt,
        "retry_count": job.retry_count,
        "replays": job.replays,
        "created_at": _instant(job.created_at_ms),
        "finished_at": _instant(job.finished_at_ms or job.updated_at_ms),
        "unique_key": job.unique_key,
        "headers": {name: value for name, value in job.headers.items() if name != CALLBACK_HEADER},
        "error": job.error,
        "reason": None if job.death_reason is None else job.death_reason.value,
        "result": None if is_result_left_out or not result_json else Raw(result_json),
        "result_omitted": is_result_left_out,
    }
    always = ("id", "type", "queue", "status")
    data = {name: value for name, value in members.items() if value or name in always}
    time = _instant(job.finished_at_ms or job.updated_at_ms)
    return _encode(f"gotaskq.job.{job.status.value.lower()}", str(job.id), data, time=time, message_id=message_id)


def message_of_gone(errand: Errand, *, now_ms: int, message_id: int) -> bytes:
    """Return what is said of a job that is no longer kept: it has ended, and nobody knows how."""
    data = {"id": errand.job_id, "type": errand.job_type, "queue": errand.queue}
    return _encode(GONE, errand.job_id, data, time=_instant(now_ms), message_id=message_id)


def _encode(event_type: str, subject: str, data: object, *, time: str, message_id: int) -> bytes:
    event = {
        "specversion": "1.0",
        "id": str(message_id),
        "source": SOURCE,
        "type": event_type,
        "subject": subject,
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
    }
    return msgspec.json.encode(event)


def _instant(instant_ms: int) -> str:
    return datetime.fromtimestamp(instant_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
