"""How an explanation looks in an answer.

Members are named as in Python, but for their units: `due_at_ms` is `due_at`, an instant; `due_in_s` is
`due_in_seconds`; what reads as an assertion in Python does without `is_`. Empty members are left out, false ones not.
"""

from typing import Any

import msgspec
from msgspec import Raw

from gotaskq.api.schemas import encode_instant
from gotaskq.explaining import Explanation, Reason


def encode_explanation(explanation: Explanation) -> bytes:
    """Return the job's id and status, the reasons, and when it may have run."""
    job, eta = explanation.job, explanation.eta
    answer: dict[str, object] = {
        "id": str(job.id),
        "status": job.status.value,
        "queue": job.queue,
        "type": job.type,
        "reasons": [_shown(reason) for reason in explanation.reasons],
    }
    if eta is not None:
        answer["eta_seconds"] = {"p50": round(eta.p50_s, 3), "p95": round(eta.p95_s, 3)}
    return msgspec.json.encode(answer)


def _shown(reason: Reason) -> dict[str, Any]:
    members = msgspec.to_builtins(reason)
    return dict(_member(name, value) for name, value in members.items() if value is not None)


def _member(name: str, value: Any) -> tuple[str, Any]:
    if name.endswith("_at_ms"):
        return name.removesuffix("_ms"), Raw(encode_instant(value))
    if name.endswith("_s"):
        return f"{name.removesuffix('_s')}_seconds", round(value, 3)
    return name.removeprefix("is_"), value
