"""Who runs jobs."""

from typing import Final

from gotaskq.api.operations.words import COUNT, INSTANT, Schema, json_of, operation

NAMES: Final[Schema] = {"type": "array", "items": {"type": "string"}}
WORKER: Final[Schema] = {
    "type": "object",
    "description": "One without queues or types takes all; of a remote one only what it asked for is known.",
    "required": ["id", "last_seen_at", "quiet"],
    "properties": {
        "id": {"type": "string"},
        "host": {"type": "string"},
        "pid": COUNT,
        "version": {"type": "string"},
        "started_at": INSTANT,
        "last_seen_at": INSTANT,
        "queues": NAMES,
        "types": NAMES,
        "more": {"const": True, "description": "there are more queues or types than are named"},
        "slots": COUNT,
        "busy": COUNT,
        "quiet": {"type": "boolean", "description": "it fetches no more jobs"},
        "remote": {"const": True, "description": "it leases jobs over HTTP"},
    },
}
FLEET: Final[Schema] = {
    "type": "object",
    "required": ["workers", "complete"],
    "properties": {
        "workers": {"type": "array", "items": WORKER},
        "complete": {"type": "boolean", "description": "false: those of other processes are not known"},
    },
}


def workers_operations() -> dict[str, dict[str, Schema]]:
    """Return the path of the workers."""
    return {"/workers": {"get": operation("List the workers", {200: json_of(FLEET)}, (503,))}}
