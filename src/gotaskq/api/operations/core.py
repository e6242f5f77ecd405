"""The original's operations, what describes them, and the health checks."""

from gotaskq.api.operations.watching import wait_parameter
from gotaskq.api.operations.words import (
    JSON,
    KEY,
    MESSAGE,
    NAMES,
    NDJSON,
    OPTIONS,
    STATUS,
    Schema,
    content_of,
    in_header,
    in_path,
    json_of,
    operation,
    ref,
    with_header,
)
from gotaskq.names import RESERVED_QUEUE_NAMES


def core_operations() -> dict[str, dict[str, Schema]]:
    """Return the paths of the original and its health checks, with their methods and what they take and answer."""
    job_id, queue = in_path("id", "^[0-9]{1,20}$"), in_path("queue", OPTIONS["queue"]["pattern"])
    queue["schema"]["not"] = {"enum": sorted(RESERVED_QUEUE_NAMES)}
    submit = {"required": True, "content": {JSON: {"schema": ref("JobRequest")}}}
    batch = {"required": True, "content": {JSON: {"schema": ref("Batch")}, NDJSON: {"schema": {"type": "string"}}}}
    key = in_header(
        "Idempotency-Key",
        {"type": "string", "pattern": KEY["pattern"]},
        "of one request: sent again, it makes no new job",
    )
    a_job, refusal = json_of(ref("Job")), json_of(ref("BatchRefusal"))
    stored = {200: with_header(a_job, "Unique-Replayed"), 201: with_header(a_job, "Idempotency-Replayed")}
    refused = (400, 404, 409, 410, 413, 415, 422, 429, 503)
    return {
        "/jobs": {"post": operation("Store a job", stored, refused, parameters=[wait_parameter(), key], body=submit)},
        "/{queue}/jobs": {
            "post": operation(
                "Store a job on this queue",
                stored,
                refused,
                parameters=[queue, wait_parameter(), key],
                body=submit,
            )
        },
        "/jobs/batch": {
            "post": operation(
                "Store up to 1,000 jobs",
                {201: json_of(ref("BatchAnswer"))} | dict.fromkeys((400, 404, 409, 410, 422, 429, 503), refusal),
                (413, 415),
                body=batch,
            )
        },
        "/jobs/{id}": {
            "get": operation("Look at a job", {200: a_job}, (400, 404, 503), parameters=[job_id, wait_parameter()]),
            "delete": operation("Delete a job", {200: json_of(MESSAGE), 202: a_job}, (404, 503), parameters=[job_id]),
        },
        "/jobs/{id}/cancel": {
            "post": operation("Cancel a job", {200: a_job}, (404, 409, 415, 503), parameters=[job_id])
        },
        **_about_the_service(),
    }


def _about_the_service() -> dict[str, dict[str, Schema]]:
    name = in_path("name", OPTIONS["queue"]["pattern"])
    return {
        "/queue": {"get": operation("List the queues", {200: json_of(NAMES)}, (503,))},
        "/queue/{name}": {
            "post": operation(
                "Make a queue", {201: json_of({"type": "string"})}, (400, 409, 415, 503), parameters=[name]
            )
        },
        "/types": {"get": operation("List the job types", {200: json_of(ref("Types"))})},
        "/openapi.json": {"get": operation("This document", {200: json_of({"type": "object"})})},
        "/docs": {"get": operation("This document, for people", {200: content_of("text/html")})},
        "/docs/{asset}": {
            "get": operation("What that page is made of", {200: {}}, (404,), parameters=[in_path("asset", "")])
        },
        "/metrics": {"get": operation("The counters, for Prometheus", {200: content_of("text/plain")}, (503,))},
        "/healthz": {"get": operation("Is the process alive?", {200: json_of(STATUS)})},
        "/readyz": {"get": operation("Does it take jobs?", {200: json_of(STATUS), 503: json_of(STATUS)})},
    }
