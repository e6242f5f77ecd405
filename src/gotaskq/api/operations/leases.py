"""The operations of workers in other programs."""

from typing import Final

from gotaskq.api.operations.words import INSTANT, JSON, OPTIONS, Schema, in_path, json_of, operation, ref

LEASE_SECONDS: Final[Schema] = {
    "type": ["number", "null"],
    "minimum": 5,
    "maximum": 3_600,
    "description": "seconds the lease runs from now; LEASE where it is left out",
}
DELAY: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 31_536_000}
TAKE: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "queues": {
            "type": ["array", "null"],
            "minItems": 1,
            "maxItems": 64,
            "items": {"type": "string", "pattern": OPTIONS["queue"]["pattern"]},
            "description": "all due jobs of the first go first; default where it is left out",
        },
        "types": {
            "type": ["array", "null"],
            "minItems": 1,
            "maxItems": 64,
            "items": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"},
            "description": "every type where it is left out",
        },
        "max": {"type": ["integer", "null"], "minimum": 1, "maximum": 64},
        "wait": {"type": ["number", "null"], "minimum": 0, "maximum": 20, "description": "seconds to wait for a job"},
        "lease": LEASE_SECONDS,
        "worker": {"type": ["string", "null"], "minLength": 1, "maxLength": 128},
    },
}
LENT: Final[Schema] = {
    "type": "object",
    "required": ["leases"],
    "properties": {
        "leases": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["lease", "expires_at", "job"],
                "properties": {
                    "lease": {"type": "string"},
                    "expires_at": INSTANT,
                    "checkpoint": {"description": "what an earlier attempt left"},
                    "job": ref("Job"),
                },
            },
        }
    },
}
BEAT: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "lease": LEASE_SECONDS,
        "progress": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "note": {"type": ["string", "null"], "description": "said with the progress"},
        "checkpoint": {"description": "for the next attempt; at most 64 KiB as JSON"},
    },
}
RENEWED: Final[Schema] = {
    "type": "object",
    "required": ["state", "expires_at"],
    "properties": {"state": {"enum": ["running", "cancel", "quiet"]}, "expires_at": INSTANT},
}
FAILURE: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["error"],
    "properties": {
        "error": {"type": "string", "minLength": 1, "description": "TypeName: message"},
        "traceback": {"type": ["string", "null"]},
        "retry": {"type": ["boolean", "null"], "description": "false: the job is DEAD at once"},
        "delay": {**DELAY, "type": ["number", "null"], "description": "seconds; as the retry policy says if left out"},
    },
}
COMPLETION: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"result": {"description": "at most 64 KiB"}},
}
SNOOZE: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["delay"],
    "properties": {"delay": DELAY},
}
NOTHING: Final[Schema] = {"type": "object", "additionalProperties": False}
SETTLED: Final[Schema] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"enum": ["PENDING", "RUNNING", "DONE", "DEAD", "CANCELLED"]}},
}


def leases_operations() -> dict[str, dict[str, Schema]]:
    """Return the paths of workers in other programs."""
    lease = in_path("lease", "^[0-9]{1,20}-[0-9a-f]{1,64}$")

    def act(summary: str, answer: Schema, body: Schema) -> dict[str, Schema]:
        refusals = (400, 404, 409, 413, 415, 503)
        described = operation(
            summary, {200: json_of(answer)}, refusals, parameters=[lease], body={"content": {JSON: {"schema": body}}}
        )
        described["responses"]["409"]["description"] = "the lease ran out, or was settled in another way"
        return {"post": described}

    return {
        "/leases": {
            "post": operation(
                "Lease jobs, to run them elsewhere",
                {200: json_of(LENT)},
                (400, 404, 413, 415, 503),
                body={"content": {JSON: {"schema": TAKE}}},
            )
        },
        "/leases/{lease}/heartbeat": act("Renew a lease, and say how far the job is", RENEWED, BEAT),
        "/leases/{lease}/complete": act("The job is done", SETTLED, COMPLETION),
        "/leases/{lease}/fail": act("The attempt failed", SETTLED, FAILURE),
        "/leases/{lease}/snooze": act("Not now", SETTLED, SNOOZE),
        "/leases/{lease}/release": act("Give the job back", SETTLED, NOTHING),
    }
