"""`GET /jobs`, and the filters it shares with acts on many jobs."""

from typing import Final

from gotaskq.api.operations.words import OPTIONS, STATUSES, Schema, in_query, json_of, operation, ref

BOUND: Final = "an instant in RFC 3339, or how long ago, such as 1h"
FILTERS: Final[Schema] = {
    "status": {"enum": STATUSES},
    "type": {"type": "string"},
    "queue": {"type": "string", "pattern": OPTIONS["queue"]["pattern"]},
    "since": {"type": "string", "description": f"made then or later: {BOUND}"},
    "until": {"type": "string", "description": f"made before then: {BOUND}"},
    "q": {"type": "string", "description": "in the type, the id or the error, whatever the case"},
}


def listing_operation() -> Schema:
    """Return `GET /jobs`."""
    page = {
        "type": "object",
        "required": ["jobs"],
        "properties": {"jobs": {"type": "array", "items": ref("Job")}, "next_cursor": {"type": "string"}},
    }
    return operation(
        "List jobs, the newest first; `payload.PATH=VALUE` looks into payloads",
        {200: json_of(page)},
        (400, 503),
        parameters=[
            *(in_query(name, schema) for name, schema in FILTERS.items()),
            in_query("limit", {"type": "integer", "minimum": 1, "maximum": 500}),
            in_query("cursor", {"type": "string"}),
        ],
    )
