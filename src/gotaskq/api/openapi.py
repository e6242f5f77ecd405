"""The OpenAPI 3.1 document, made of the tasks an app has and of what is known of other programs' types.

Served at `/openapi.json`. Pure: descriptions go in, plain data comes out.
Invariant: a payload the document calls right is one the door takes; both are made from the same types.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from gotaskq.api.operations import operations
from gotaskq.api.operations.words import (
    BATCH,
    BATCH_ANSWER,
    BATCH_REFUSAL,
    ERROR,
    JOB,
    JSON,
    OPTIONS,
    SCHEMAS,
    TYPES,
    Schema,
    ref,
)
from gotaskq.api.security.access import scope_of
from gotaskq.api.security.tokens import Scope
from gotaskq.descriptions import WITHIN, Description, describe
from gotaskq.task import AnyTask

OPENAPI: Final = "3.1.0"
PAYLOAD: Final = "payload."  # before the names of users' types, which may be called what ours are
ELSEWHERE: Final = "elsewhere."  # before those of other programs, which may be called what this one's are
REQUEST: Final = "job."
DEFINITIONS: Final = WITHIN.removesuffix("{name}")

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class _Described:
    """A job type as the document has it: the name of its payload's schema, and all that this is made of, by name."""

    job_type: str
    name: str
    schemas: Schema
    summary: str | None
    example: Any

    @property
    def is_needed(self) -> bool:
        """Whether a job must have a payload."""
        return bool(self.schemas[self.name].get("required"))


def build_openapi(
    tasks: Mapping[str, AnyTask],
    *,
    elsewhere: Sequence[Mapping[str, Any]] = (),
    only_others: list[str] | None = None,
) -> dict[str, Any]:
    """Return the document, of these tasks and the entries that other programs publish of theirs.

    Jobs of types without a schema are said to be taken, or only those of `only_others`.
    """
    described = [*map(_of_task, describe(_sorted(tasks), template=f"{SCHEMAS}{PAYLOAD}{{name}}"))]
    described += [_of_entry(entry) for entry in elsewhere if "schema" in entry]
    requests = {f"{REQUEST}{one.name.removeprefix(PAYLOAD)}": _request(one) for one in described}
    kinds = [ref(name) for name in requests] + ([] if only_others == [] else [ref("AnyJob")])
    schemas: Schema = {
        "Job": JOB,
        "Error": ERROR,
        "JobRequest": {"oneOf": kinds} if kinds else {"not": {}},
        "AnyJob": _any_request([one.job_type for one in described], only_others),
        "Batch": BATCH,
        "BatchAnswer": BATCH_ANSWER,
        "BatchRefusal": BATCH_REFUSAL,
        "Types": TYPES,
        **requests,
        **{name: schema for one in described for name, schema in one.schemas.items()},
    }
    info = {
        "title": "GoTaskQ",
        "version": version("gotaskq"),
        "description": "A job queue: post jobs, and look at them.",
    }
    components = {
        "schemas": schemas,
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "made by `gotaskq token new`"}
        },
    }
    return {"openapi": OPENAPI, "info": info, "paths": _paths(requests.values()), "components": components}


def _sorted(tasks: Mapping[str, AnyTask]) -> list[AnyTask]:
    return [tasks[job_type] for job_type in sorted(tasks)]


def _of_task(one: Description) -> _Described:
    return _Described(one.task.job_type, one.name, one.schemas, one.summary, one.example())


def _of_entry(entry: Mapping[str, Any]) -> _Described:
    """Return what another program publishes, with its parts moved to where the document's are."""
    name = f"{ELSEWHERE}{_NOT_IN_A_NAME.sub(_as_number, entry['type'])}"
    schema = {part: value for part, value in entry["schema"].items() if part != "$defs"}
    parts = {f"{name}.{part}": value for part, value in entry["schema"].get("$defs", {}).items()}
    schemas: Schema = _moved({name: schema, **parts}, f"{SCHEMAS}{name}.")
    return _Described(entry["type"], name, schemas, entry.get("description"), entry.get("example"))


def _moved(schema: Any, to: str) -> Any:
    """Return a schema whose references to its `$defs` lead elsewhere."""
    if isinstance(schema, list):
        return [_moved(part, to) for part in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: _moved(value, to) for name, value in schema.items()}
    target = schema.get("$ref")
    return {**moved, "$ref": f"{to}{target.removeprefix(DEFINITIONS)}"} if isinstance(target, str) else moved


def _as_number(found: re.Match[str]) -> str:
    return f"_{ord(found[0]):x}_"


def _paths(requests: Iterable[Schema]) -> Schema:
    """Return the operations, with an example of each job type where jobs are posted."""
    paths: Schema = operations()
    for path, methods in paths.items():
        for method, described in methods.items():
            _say_who_may(described, scope_of(method.upper(), path))
    examples = {request["examples"][0]["type"]: {"value": request["examples"][0]} for request in requests}
    if examples:
        for path in ("/jobs", "/{queue}/jobs"):
            paths[path]["post"]["requestBody"]["content"][JSON]["examples"] = examples
    return paths


def _say_who_may(described: Schema, scope: Scope | None) -> None:
    """Say which scope an operation needs where there are tokens, and what who lacks it is answered."""
    refused = {"content": {JSON: {"schema": ref("Error")}}}
    responses = described["responses"]
    responses["421"] = {"description": "the Host header names somebody else", **refused}
    if scope is None:
        return
    described["security"] = [{}, {"token": []}]
    described["description"] = f"Where there are tokens, one with scope `{scope.value}` is needed."
    responses["401"] = {"description": "no valid token was sent", **refused}
    responses["403"] = {"description": f"the token has no scope {scope.value}", **refused}
    responses.setdefault("429", {"description": "too many wrong tokens came from this address", **refused})


def _request(one: _Described) -> Schema:
    """Return the schema of a job of this type, with an example."""
    job_type, payload, is_needed = one.job_type, ref(one.name), one.is_needed
    return {
        "type": "object",
        "description": one.summary or f"A job of type {job_type}.",
        "required": ["type", "payload"] if is_needed else ["type"],
        "properties": {
            "type": {"const": job_type},
            "payload": payload if is_needed else {"anyOf": [payload, {"type": "null"}]},
            **OPTIONS,
        },
        "examples": [{"type": job_type, "payload": one.example}],
    }


def _any_request(tasks: Sequence[str], only_others: list[str] | None) -> Schema:
    job_type: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"}
    if only_others:
        job_type = {"enum": list(only_others)}
    elif tasks:
        job_type["not"] = {"enum": list(tasks)}
    return {
        "type": "object",
        "description": "A job of a type without a schema; its payload is any JSON.",
        "required": ["type"],
        "properties": {"type": job_type, "payload": {}, **OPTIONS},
        "examples": [{"type": only_others[0] if only_others else "logger", "payload": {"msg": "hello"}}],
    }
