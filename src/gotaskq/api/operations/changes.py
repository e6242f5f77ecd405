"""What can be asked of, and changed in, one job."""

from typing import Any, Final

from gotaskq.api.operations.words import COUNT, JSON, OPTIONS, STATUSES, Schema, in_path, json_of, operation, ref

SECONDS: Final[Schema] = OPTIONS["timeout"]

CHANGE: Final[Schema] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "not": {"required": ["delay", "run_after"]},
    "properties": {
        "priority": {"type": "integer", "minimum": 0, "maximum": 10},
        "delay": {"type": "number", "minimum": 0, "maximum": 31_536_000, "description": "seconds from now"},
        "run_after": {"type": "string", "format": "date-time", "description": "at most a year from now"},
        "max_retries": {"type": "integer", "minimum": 0, "maximum": 100},
        "timeout": {**SECONDS, "description": "null takes it away"},
        "schedule_timeout": {**SECONDS, "description": "null takes it away"},
        "payload": {"description": "as the job's type asks for"},
    },
}


def changes_operations() -> dict[str, dict[str, Schema]]:
    """Return the paths below a job."""
    job_id = in_path("id", "^[0-9]{1,20}$")
    a_job = json_of(ref("Job"))

    def ask(summary: str, answer: Schema, *refusals: int) -> dict[str, Schema]:
        return {"get": operation(summary, {200: answer}, (404, *refusals, 503), parameters=[job_id])}

    def act(summary: str) -> dict[str, Schema]:
        return {"post": operation(summary, {200: a_job}, (404, 409, 415, 503), parameters=[job_id])}

    return {
        "/jobs/{id}/attempts": ask("The attempts of a job", json_of(_listed("attempts", "attempt", attempt=COUNT))),
        "/jobs/{id}/result": ask("What its handler returned", json_of({}), 409),
        "/jobs/{id}/explain": ask("Why has it not run?", json_of(_listed("reasons", "reason", eta_seconds=_ETA))),
        "/jobs/{id}/retry": act("Run a job again that has failed"),
        "/jobs/{id}/run": act("Let a job that waits be due now"),
    }


def change_operation() -> Schema:
    """Return `PATCH /jobs/{id}`."""
    return operation(
        "Change a job that waits",
        {200: json_of(ref("Job"))},
        (400, 404, 409, 413, 415, 422, 503),
        parameters=[in_path("id", "^[0-9]{1,20}$")],
        body={"required": True, "content": {JSON: {"schema": CHANGE}}},
    )


_ETA: Final[Schema] = {
    "type": "object",
    "required": ["p50", "p95"],
    "properties": {"p50": {"type": "number"}, "p95": {"type": "number"}},
}


def _listed(items: str, key: str, **more: Any) -> Schema:
    """Return the schema of an answer about a job that lists objects, each of which has a key."""
    return {
        "type": "object",
        "required": ["id", "status", items],
        "properties": {
            "id": {"type": "string"},
            "status": {"enum": STATUSES},
            items: {"type": "array", "items": {"type": "object", "required": [key]}},
            **more,
        },
    }
