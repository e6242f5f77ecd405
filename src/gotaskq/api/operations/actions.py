"""Acts on many jobs, and the operations they become."""

from typing import Final

from gotaskq.api.operations.listing import FILTERS
from gotaskq.api.operations.words import COUNT, INSTANT, JSON, Schema, in_path, in_query, json_of, operation

ACTIONS: Final = ["retry", "cancel", "delete"]
ACTION: Final[Schema] = {
    "type": "object",
    "required": ["action"],
    "additionalProperties": False,
    "oneOf": [{"required": ["ids"]}, {"required": ["filter"]}],
    "properties": {
        "action": {"enum": ACTIONS},
        "ids": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1_000,
            "items": {"type": "string", "pattern": "^[0-9]{1,20}$"},
        },
        "filter": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {
                **FILTERS,
                "payload": {"type": "object", "description": "dotted path → value", "additionalProperties": {}},
            },
        },
        "dry_run": {"type": "boolean", "description": "count, and do nothing"},
    },
}
OPERATION: Final[Schema] = {
    "type": "object",
    "required": ["id", "action", "status", "matched", "done", "failed", "started_at"],
    "properties": {
        "id": {"type": "string"},
        "action": {"enum": ACTIONS},
        "status": {"enum": ["running", "done", "failed", "cancelled", "lost"]},
        "matched": COUNT,
        "done": COUNT,
        "failed": COUNT,
        "cancel_requested": {"type": "boolean"},
        "errors": {"type": "array", "items": {"type": "object", "required": ["id", "error"]}},
        "error": {"type": "string"},
        "started_at": INSTANT,
        "finished_at": INSTANT,
    },
}
COUNTED: Final[Schema] = {
    "type": "object",
    "required": ["matched"],
    "properties": {"matched": COUNT, "more": {"type": "boolean", "description": "there may be more"}},
}


def actions_operations() -> dict[str, dict[str, Schema]]:
    """Return the paths of acts on many jobs."""
    act = operation(
        "Retry, cancel or delete many jobs, or count them",
        {200: json_of(COUNTED), 202: json_of(OPERATION)},
        (400, 413, 415, 429, 503),
        body={"required": True, "content": {JSON: {"schema": ACTION}}},
    )
    listed = {
        "type": "object",
        "required": ["operations"],
        "properties": {"operations": {"type": "array", "items": OPERATION}},
    }
    limit = in_query("limit", {"type": "integer", "minimum": 1, "maximum": 1_000})
    look = operation("How far an operation is", {200: json_of(OPERATION)}, (404, 503), parameters=[in_path("id", "")])
    end = operation(
        "Let an operation end", {200: json_of(OPERATION)}, (404, 409, 415, 503), parameters=[in_path("id", "")]
    )
    return {
        "/jobs/actions": {"post": act},
        "/operations": {"get": operation("List operations", {200: json_of(listed)}, (400, 503), parameters=[limit])},
        "/operations/{id}": {"get": look},
        "/operations/{id}/cancel": {"post": end},
    }
