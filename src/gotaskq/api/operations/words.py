"""The words operations are described in: schemas that several share, and how one is put together."""

from typing import Any, Final, TypeAlias

Schema: TypeAlias = dict[str, Any]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
SCHEMAS: Final = "#/components/schemas/"
INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}

STATUSES: Final = ["PENDING", "RUNNING", "DONE", "DEAD", "CANCELLED"]
PRIORITY: Final[Schema] = {"type": ["integer", "null"], "minimum": 0, "maximum": 10}
SECONDS: Final[Schema] = {"type": ["number", "null"], "minimum": 0.001, "maximum": 31_536_000}
KEY: Final[Schema] = {"type": ["string", "null"], "pattern": "^[!-~]{1,255}$"}
OPTIONS: Final[Schema] = {
    "priority": {**PRIORITY, "description": "10 goes first"},
    "delay": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 31_536_000,
        "description": "seconds until it may run",
    },
    "max_retries": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
    "queue": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    "timeout": {**SECONDS, "description": "seconds an attempt may take"},
    "schedule_timeout": {**SECONDS, "description": "seconds the job may wait once it is due"},
    "headers": {
        "type": ["object", "null"],
        "maxProperties": 16,
        "propertyNames": {"pattern": "^[a-z0-9-]{1,64}$"},
        "additionalProperties": {
            "type": "string",
            "maxLength": 1_024,
            "pattern": r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$",
        },
        "description": "texts that go with the job; a value has at most 1 KiB in UTF-8, all together 4 KiB",
    },
    "unique_key": {**KEY, "description": "while a job with it waits or runs, that one is answered with"},
    "idempotency_key": {**KEY, "description": "as the header Idempotency-Key"},
    "callback": {
        "type": ["object", "null"],
        "required": ["url"],
        "properties": {
            "url": {
                "type": "string",
                "maxLength": 2_048,
                "pattern": r"^https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,3})?(/[!-\"$-~]*)?$",
            },
            "on": {"type": "array", "minItems": 1, "items": {"enum": ["done", "dead", "cancelled"]}},
        },
        "description": "gets a signed POST when the job has ended in one of these ways; needs CALLBACK_SECRET",
    },
}

JOB: Final[Schema] = {
    "type": "object",
    "description": "A job; members that are not required are left out where they are empty.",
    "required": [
        *("id", "type", "payload", "status", "priority", "delay", "max_retries", "retry_count"),
        *("created_at", "updated_at", "run_after"),
    ],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "type": {"type": "string"},
        "payload": {"description": "as it was sent, byte for byte"},
        "status": {"enum": STATUSES},
        "priority": {"type": "integer"},
        "delay": {"type": "number"},
        "max_retries": {"type": "integer"},
        "retry_count": COUNT,
        "created_at": INSTANT,
        "updated_at": INSTANT,
        "run_after": INSTANT,
        "queue": {"type": "string"},
        "error": {"type": "string"},
        "reason": {"type": "string"},
        "attempt": COUNT,
        "crashes": COUNT,
        "replays": COUNT,
        "replayed_from": {"type": "string", "description": "the id it had where it died"},
        "replayed_at": INSTANT,
        "cancel_requested": {"type": "boolean"},
        "unique_key": {"type": "string"},
        "timeout": {"type": "number"},
        "schedule_timeout": {"type": "number"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "result": {"description": "what the handler returned"},
        "progress": {
            "type": "object",
            "required": ["fraction"],
            "properties": {"fraction": {"type": "number"}, "note": {"type": "string"}},
        },
        "attempts": {"type": "array", "items": {"type": "object", "required": ["attempt", "status"]}},
        "started_at": INSTANT,
        "finished_at": INSTANT,
    },
}
ID: Final[Schema] = {"type": "string", "pattern": "^[0-9]+$"}
UNKNOWN: Final[Schema] = {"const": "unknown", "description": "nobody knows whether it was stored: ask for it later"}
ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "field": {"type": "string", "description": "what is to blame, such as priority or $.payload.to"},
        "accepted": UNKNOWN,
        "id": {**ID, "description": "of the job whose fate is unknown, or which is no longer kept"},
    },
    "dependentRequired": {"accepted": ["id"]},
}
BATCH: Final[Schema] = {
    "type": "object",
    "required": ["jobs"],
    "properties": {
        "jobs": {"type": "array", "minItems": 1, "maxItems": 1_000, "items": {"type": "object"}},
        "atomic": {"type": "boolean"},
    },
}
EACH_OF_A_BATCH: Final[Schema] = {
    "jobs": {"type": "array", "items": {"$ref": f"{SCHEMAS}Job"}},
    "errors": {
        "type": "array",
        "items": {**ERROR, "required": ["index", "error"], "properties": {"index": COUNT, **ERROR["properties"]}},
    },
    "replayed": {
        "type": "array",
        "description": "which jobs were there by a key, and by which",
        "items": {
            "type": "object",
            "required": ["index", "by"],
            "properties": {"index": COUNT, "by": {"enum": ["idempotency_key", "unique_key"]}},
        },
    },
}
BATCH_ANSWER: Final[Schema] = {"type": "object", "required": ["jobs", "errors"], "properties": EACH_OF_A_BATCH}
BATCH_REFUSAL: Final[Schema] = {
    "type": "object",
    "description": "No job is known to be stored. Where a batch could be read, each of its jobs has an error.",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "field": {"type": "string"},
        "accepted": UNKNOWN,
        "id": {**ID, "description": "of a job that is no longer kept"},
        "ids": {
            "type": "array",
            "minItems": 1,
            "items": ID,
            "description": "of the jobs whose fate is unknown, in order",
        },
        **EACH_OF_A_BATCH,
    },
    "dependentRequired": {"accepted": ["ids"], "ids": ["accepted"]},
}
TYPES: Final[Schema] = {
    "type": "object",
    "required": ["types"],
    "properties": {"types": {"type": "array", "items": {"type": "object", "required": ["type"]}}},
}


MESSAGE: Final[Schema] = {"type": "object", "required": ["message"]}
STATUS: Final[Schema] = {"type": "object", "required": ["status"]}
NAMES: Final[Schema] = {"type": "array", "items": {"type": "string"}}
MEANING: Final = {
    200: "done",
    201: "stored",
    202: "begun: a running job was asked to end, or many are acted on",
    400: "the request holds something it may not",
    404: "there is none",
    409: "its state forbids it, it is there already, or another job of the batch was refused",
    410: "the request came before, and its job is no longer kept",
    413: "the body is too large",
    415: "the content type or coding is not taken",
    422: "the payload does not fit its type, the type is not known here, or the key came before with another request",
    429: "the queue takes no job now, or enough operations run; nothing was done; see retry-after",
    503: "cannot be served now; see retry-after",
}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"{SCHEMAS}{name}"}


def operation(
    summary: str,
    answers: dict[int, Schema],
    refusals: tuple[int, ...] = (),
    *,
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
) -> Schema:
    """Describe one method of a path: what it answers by status, and for which it refuses."""
    all_answers = {status: json_of(ref("Error")) for status in refusals} | answers
    operation: Schema = {
        "summary": summary,
        "responses": {str(status): {"description": MEANING[status], **all_answers[status]} for status in all_answers},
    }
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = body
    return operation


def json_of(schema: Schema) -> Schema:
    """Return an answer of this JSON."""
    return {"content": {JSON: {"schema": schema}}}


def content_of(media_type: str) -> Schema:
    """Return an answer of text of this media type."""
    return {"content": {media_type: {"schema": {"type": "string"}}}}


def in_path(name: str, pattern: str) -> Schema:
    """Return a parameter of the path."""
    schema = {"type": "string", "pattern": pattern} if pattern else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def in_query(name: str, schema: Schema) -> Schema:
    """Return a parameter of the query, which may be left out."""
    return {"name": name, "in": "query", "required": False, "schema": schema}


def in_header(name: str, schema: Schema, description: str) -> Schema:
    """Return a header of the request, which may be left out."""
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}


def with_header(answer: Schema, name: str) -> Schema:
    """Return an answer with a header that says `true` where it is there."""
    return {**answer, "headers": {name: {"schema": {"const": "true"}, "required": False}}}
