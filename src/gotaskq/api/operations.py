"""Operations: what each route takes and answers, in OpenAPI's words; a test holds it against the routes.

Used by `openapi`, which adds the job types. Invariant: plain data, the same for every app.
"""

from typing import Any, Final, TypeAlias

from gotaskq.names import RESERVED_QUEUE_NAMES

Schema: TypeAlias = dict[str, Any]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
SCHEMAS: Final = "#/components/schemas/"
INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}

PRIORITY: Final[Schema] = {"type": ["integer", "null"], "minimum": 0, "maximum": 10}
SECONDS: Final[Schema] = {"type": ["number", "null"], "minimum": 0.001, "maximum": 31_536_000}
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
        "status": {"enum": ["PENDING", "RUNNING", "DONE", "DEAD", "CANCELLED"]},
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
        "cancel_requested": {"type": "boolean"},
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
ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "field": {"type": "string", "description": "what is to blame, such as priority or $.payload.to"},
    },
}
BATCH: Final[Schema] = {
    "type": "object",
    "required": ["jobs"],
    "properties": {
        "jobs": {"type": "array", "minItems": 1, "maxItems": 1_000, "items": {"type": "object"}},
        "atomic": {"type": "boolean"},
    },
}
BATCH_ANSWER: Final[Schema] = {
    "type": "object",
    "required": ["jobs", "errors"],
    "properties": {
        "jobs": {"type": "array", "items": {"$ref": f"{SCHEMAS}Job"}},
        "errors": {
            "type": "array",
            "items": {"type": "object", "required": ["index", "error"], "properties": {"index": COUNT}},
        },
    },
}
TYPES: Final[Schema] = {
    "type": "object",
    "required": ["types"],
    "properties": {"types": {"type": "array", "items": {"type": "object", "required": ["type"]}}},
}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"{SCHEMAS}{name}"}


def operations() -> dict[str, dict[str, Schema]]:
    """Return every path, with its methods and what they take and answer."""
    job_id, queue = _in_path("id", "^[0-9]{1,20}$"), _in_path("queue", OPTIONS["queue"]["pattern"])
    queue["schema"]["not"] = {"enum": sorted(RESERVED_QUEUE_NAMES)}
    name = _in_path("name", OPTIONS["queue"]["pattern"])
    submit = {"required": True, "content": {JSON: {"schema": ref("JobRequest")}}}
    batch = {"required": True, "content": {JSON: {"schema": ref("Batch")}, NDJSON: {"schema": {"type": "string"}}}}
    a_job, jobs = _json(ref("Job")), _json({"type": "array", "items": ref("Job")})
    return {
        "/jobs": {"post": _operation("Store a job", {201: a_job}, (400, 404, 413, 415, 422, 429, 503), body=submit)},
        "/{queue}/jobs": {
            "post": _operation(
                "Store a job on this queue",
                {201: a_job},
                (400, 404, 413, 415, 422, 429, 503),
                parameters=[queue],
                body=submit,
            )
        },
        "/jobs/batch": {
            "post": _operation(
                "Store up to 1,000 jobs",
                {201: _json(ref("BatchAnswer"))},
                (400, 404, 409, 413, 415, 422, 429, 503),
                body=batch,
            )
        },
        "/jobs/{id}": {
            "get": _operation("Look at a job", {200: a_job}, (404, 503), parameters=[job_id]),
            "delete": _operation("Delete a job", {200: _json(_MESSAGE), 202: a_job}, (404, 503), parameters=[job_id]),
        },
        "/jobs/{id}/cancel": {
            "post": _operation("Cancel a job", {200: a_job}, (404, 409, 415, 503), parameters=[job_id])
        },
        "/dlq": {
            "get": _operation(
                "List dead jobs, the latest death first",
                {200: jobs},
                (400, 503),
                parameters=[
                    _in_query("limit", {"type": "integer", "minimum": 1, "maximum": 1_000}),
                    _in_query("cursor", {"type": "string"}),
                ],
            )
        },
        "/dlq/{id}": {
            "delete": _operation("Delete a dead job", {200: _json(_MESSAGE)}, (404, 503), parameters=[job_id])
        },
        "/dlq/{id}/replay": {
            "post": _operation("Run a dead job again", {200: a_job}, (404, 415, 503), parameters=[job_id])
        },
        "/queue": {"get": _operation("List the queues", {200: _json(_NAMES)}, (503,))},
        "/queue/{name}": {
            "post": _operation(
                "Make a queue", {201: _json({"type": "string"})}, (400, 409, 415, 503), parameters=[name]
            )
        },
        "/types": {"get": _operation("List the job types", {200: _json(ref("Types"))})},
        "/openapi.json": {"get": _operation("This document", {200: _json({"type": "object"})})},
        "/docs": {"get": _operation("This document, for people", {200: _content("text/html")})},
        "/docs/{asset}": {
            "get": _operation("What that page is made of", {200: {}}, (404,), parameters=[_in_path("asset", "")])
        },
        "/metrics": {"get": _operation("The counters, for Prometheus", {200: _content("text/plain")}, (503,))},
        "/healthz": {"get": _operation("Is the process alive?", {200: _json(_STATUS)})},
        "/readyz": {"get": _operation("Does it take jobs?", {200: _json(_STATUS), 503: _json(_STATUS)})},
    }


_MESSAGE: Final[Schema] = {"type": "object", "required": ["message"]}
_STATUS: Final[Schema] = {"type": "object", "required": ["status"]}
_NAMES: Final[Schema] = {"type": "array", "items": {"type": "string"}}
_MEANING: Final = {
    200: "done",
    201: "stored",
    202: "it runs, and was asked to end",
    400: "the request holds something it may not",
    404: "there is none",
    409: "it is there already, has ended, or another job of the batch was refused",
    413: "the body is too large",
    415: "the content type or coding is not taken",
    422: "the payload does not fit its type, or the type is not known here",
    429: "the queue is full; nothing was stored",
    503: "cannot be served now; see retry-after",
}


def _operation(
    summary: str,
    answers: dict[int, Schema],
    refusals: tuple[int, ...] = (),
    *,
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
) -> Schema:
    all_answers = {status: _json(ref("Error")) for status in refusals} | answers
    operation: Schema = {
        "summary": summary,
        "responses": {str(status): {"description": _MEANING[status], **all_answers[status]} for status in all_answers},
    }
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = body
    return operation


def _json(schema: Schema) -> Schema:
    return {"content": {JSON: {"schema": schema}}}


def _content(media_type: str) -> Schema:
    return {"content": {media_type: {"schema": {"type": "string"}}}}


def _in_path(name: str, pattern: str) -> Schema:
    schema = {"type": "string", "pattern": pattern} if pattern else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}
