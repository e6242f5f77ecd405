"""The operations of dead letters."""

from typing import Final

from gotaskq.api.operations.actions import OPERATION
from gotaskq.api.operations.listing import FILTERS
from gotaskq.api.operations.words import (
    COUNT,
    INSTANT,
    JSON,
    MESSAGE,
    NDJSON,
    Schema,
    content_of,
    in_path,
    in_query,
    json_of,
    operation,
    ref,
)

DEAD_FILTERS: Final = {name: schema for name, schema in FILTERS.items() if name != "status"}
TEXT: Final[Schema] = {"type": "string"}
SAYS: Final = ("type", "reason", "error", "place", "example")
FINGERPRINT: Final[Schema] = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
GROUP: Final[Schema] = {
    "type": "object",
    "required": [
        "fingerprint",
        "type",
        "reason",
        "error",
        "place",
        "count",
        "first_died_at",
        "last_died_at",
        "example",
    ],
    "properties": {
        "fingerprint": FINGERPRINT,
        **dict.fromkeys(("type", "reason", "error", "place", "example"), TEXT),
        "count": COUNT,
        "first_died_at": INSTANT,
        "last_died_at": INSTANT,
    },
}
SUMMARY: Final[Schema] = {
    "type": "object",
    "required": ["groups", "complete"],
    "properties": {"groups": {"type": "array", "items": GROUP}, "complete": {"type": "boolean"}},
}
REPLAYED: Final[Schema] = {
    "type": "object",
    "required": ["matched", "replayed", "complete"],
    "properties": {
        "matched": COUNT,
        "replayed": COUNT,
        "conflicts": {**COUNT, "description": "whose unique key another job has"},
        "refused": {**COUNT, "description": "whose type cannot take the patched payload"},
        "complete": {"type": "boolean"},
        "errors": {"type": "array", "items": {"type": "object", "required": ["id", "error"]}},
        "example": {"type": "object", "required": ["id", "before", "after"]},
    },
}
TAKEN: Final[Schema] = {
    "type": "object",
    "required": ["lines", "replayed", "stored", "already", "conflicts", "errors"],
    "properties": {
        **dict.fromkeys(("lines", "replayed", "stored", "already", "conflicts"), COUNT),
        "errors": {"type": "array", "items": {"type": "object", "required": ["line", "error"]}},
    },
}
PATCH: Final[Schema] = {"type": "object", "description": "a JSON merge patch of the payload (RFC 7396)"}
REPLAY_ONE: Final[Schema] = {"type": "object", "additionalProperties": False, "properties": {"patch": PATCH}}
REPLAY: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "fingerprint": {"type": ["string", "null"], "pattern": FINGERPRINT["pattern"]},
        **{name: {**schema, "type": ["string", "null"]} for name, schema in DEAD_FILTERS.items()},
        "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 1_000},
        "patch": PATCH,
        "rate": {"type": ["number", "null"], "minimum": 0.01, "maximum": 1_000, "description": "jobs a second"},
        "dry_run": {"type": "boolean"},
    },
}


def dead_letters_operations() -> dict[str, dict[str, Schema]]:
    """Return the paths of dead letters, with their methods and what they take and answer."""
    return {**_of_many(), **_of_one()}


def _of_many() -> dict[str, dict[str, Schema]]:
    filters = [in_query(name, schema) for name, schema in DEAD_FILTERS.items()]
    paging = [
        in_query("limit", {"type": "integer", "minimum": 1, "maximum": 1_000}),
        in_query("cursor", {"type": "string"}),
    ]
    return {
        "/dlq": {
            "get": operation(
                "List dead jobs, the latest death first",
                {200: json_of({"type": "array", "items": ref("Job")})},
                (400, 503),
                parameters=[*filters, *paging],
            )
        },
        "/dlq/summary": {
            "get": operation(
                "Group dead jobs by what they died of", {200: json_of(SUMMARY)}, (400, 503), parameters=filters
            )
        },
        "/dlq/export": {
            "get": operation(
                "Export dead jobs, a line of JSON each",
                {200: content_of(NDJSON)},
                (400, 503),
                parameters=[*filters, in_query("fingerprint", FINGERPRINT)],
            )
        },
        "/dlq/import": {
            "post": operation(
                "Run dead jobs again that an export has, each once",
                {200: json_of(TAKEN)},
                (400, 413, 415, 503),
                body={"required": True, "content": {NDJSON: {"schema": TEXT}, "text/plain": {"schema": TEXT}}},
            )
        },
        "/dlq/replay": {
            "post": operation(
                "Run the dead jobs again that are meant",
                {200: json_of(REPLAYED), 202: json_of(OPERATION)},
                (400, 413, 415, 422, 429, 503),
                body={"required": False, "content": {JSON: {"schema": REPLAY}}},
            )
        },
    }


def _of_one() -> dict[str, dict[str, Schema]]:
    job_id = in_path("id", "^[0-9]{1,20}$")
    return {
        "/dlq/{id}": {
            "get": operation("Look at a dead job", {200: json_of(ref("Job"))}, (404, 503), parameters=[job_id]),
            "delete": operation("Delete a dead job", {200: json_of(MESSAGE)}, (404, 503), parameters=[job_id]),
        },
        "/dlq/{id}/replay": {
            "post": operation(
                "Run a dead job again",
                {200: json_of(ref("Job"))},
                (400, 404, 409, 413, 415, 422, 503),
                parameters=[job_id],
                body={"required": False, "content": {JSON: {"schema": REPLAY_ONE}}},
            )
        },
    }
