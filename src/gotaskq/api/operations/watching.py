"""The operations that wait: streams of events, and the parameter of those that wait for a job."""

from typing import Final

from gotaskq.api.operations.words import Schema, content_of, in_path, in_query, operation

WAIT: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 60}


def wait_parameter() -> Schema:
    """Return the parameter that lets a request wait until its job has ended."""
    return {**in_query("wait", WAIT), "description": "seconds to wait for the job to end; so does `Prefer: wait=`"}


def watching_operations() -> dict[str, dict[str, Schema]]:
    """Return the paths of events, with their methods and what they take and answer."""
    stream = content_of("text/event-stream")
    job_id = in_path("id", "^[0-9]{1,20}$")
    wanted = [
        in_query("queue", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}),
        in_query("type", {"type": "string"}),
        in_query("status", {"type": "string", "pattern": "^(?i:pending|running|done|failed|dead|cancelled)$"}),
    ]
    return {
        "/events": {"get": operation("Watch what happens to jobs", {200: stream}, (400, 503), parameters=wanted)},
        "/jobs/{id}/events": {
            "get": operation("Watch a job until it has ended", {200: stream}, (404, 503), parameters=[job_id])
        },
    }
