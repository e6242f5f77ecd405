"""The OpenAPI 3.1 document and the list of job types, made of the tasks an app has.

Served at `/openapi.json` and `/types`. Pure: tasks go in, plain data comes out.
Invariant: a payload the document calls right is one the door takes; both are made from the same types.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import msgspec

from gotaskq.api.examples import example_of, mend
from gotaskq.api.operations import operations
from gotaskq.api.operations.words import BATCH, BATCH_ANSWER, ERROR, JOB, JSON, OPTIONS, SCHEMAS, TYPES, Schema, ref
from gotaskq.api.security.access import scope_of
from gotaskq.api.security.tokens import Scope
from gotaskq.custom_types import schema_of
from gotaskq.task import AnyTask

OPENAPI: Final = "3.1.0"
DECIMAL: Final = r"^-?[0-9]+(\.[0-9]+)?$"
PAYLOAD: Final = "payload."  # before the names of users' types, which may be called what ours are
REQUEST: Final = "job."


@dataclass(frozen=True, slots=True)
class _Described:
    """A task, the name of its payload's schema among those it is made of, and an example."""

    task: AnyTask
    name: str
    schemas: Schema

    @property
    def schema(self) -> Schema:
        """The payload's own schema."""
        own: Schema = self.schemas[self.name]
        return own

    @property
    def summary(self) -> str | None:
        """The first line of the function's docstring."""
        lines = (self.task.__doc__ or "").strip().splitlines()
        return lines[0] if lines else None

    def example(self) -> Any:
        """Return a payload the door takes, or if none can be made up, one that shows its members."""
        return mend(example_of(self.schema, self.schemas), self.task.payload_type.check)


def describe_types(tasks: Mapping[str, AnyTask], job_types: Iterable[str]) -> dict[str, Any]:
    """Return what `GET /types` answers: every job type, and of a task its defaults, its schema and an example."""
    plain = [{"type": job_type} for job_type in job_types if job_type not in tasks]
    described = [_entry(_describe([task], template="#/$defs/{name}")[0]) for task in tasks.values()]
    return {"types": sorted([*plain, *described], key=lambda entry: entry["type"])}


def build_openapi(tasks: Mapping[str, AnyTask], *, only_others: list[str] | None = None) -> dict[str, Any]:
    """Return the document; jobs of other types than these tasks' are said to be taken, or only of `only_others`."""
    described = _describe([tasks[job_type] for job_type in sorted(tasks)], template=f"{SCHEMAS}{PAYLOAD}{{name}}")
    requests = {f"{REQUEST}{one.name.removeprefix(PAYLOAD)}": _request(one) for one in described}
    kinds = [ref(name) for name in requests] + ([] if only_others == [] else [ref("AnyJob")])
    schemas: Schema = {
        "Job": JOB,
        "Error": ERROR,
        "JobRequest": {"oneOf": kinds} if kinds else {"not": {}},
        "AnyJob": _any_request(sorted(tasks), only_others),
        "Batch": BATCH,
        "BatchAnswer": BATCH_ANSWER,
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


def _describe(tasks: Sequence[AnyTask], *, template: str) -> list[_Described]:
    """Return each task with the schema of its payload, and of all the payloads are made of, by name."""
    lifted: Schema = {}

    def hook(cls: Any) -> Schema:
        schema = schema_of(cls, template.replace("{name}", "{model}"))
        lifted.update(schema.pop("$defs", {}))
        return schema

    structs = [task.payload_type.struct for task in tasks]
    references, schemas = msgspec.json.schema_components(structs, schema_hook=hook, ref_template=template)
    prefix = template.removesuffix("{name}").rpartition("/")[2]
    every = {f"{prefix}{name}": _with_decimals(schema) for name, schema in {**lifted, **schemas}.items()}
    names = [str(reference["$ref"]).rpartition("/")[2] for reference in references]
    return [_Described(task, name, every) for task, name in zip(tasks, names, strict=True)]


def _with_decimals(schema: Any) -> Any:
    """Return a schema that says all of what msgspec takes for a Decimal: a number, or text that is one."""
    if isinstance(schema, list):
        return [_with_decimals(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: _with_decimals(part) for name, part in schema.items()}
    return {**parts, "type": ["string", "number"], "pattern": DECIMAL} if parts.get("format") == "decimal" else parts


def _entry(one: _Described) -> dict[str, Any]:
    door = one.task.at_the_door
    parts = {name: schema for name, schema in one.schemas.items() if name != one.name}
    said = {
        "description": one.summary,
        "queue": door.queue,
        "priority": door.priority,
        "max_retries": door.max_retries,
        "version": one.task.payload_type.version,
        "schema": one.schema | ({"$defs": parts} if parts else {}),
        "example": one.example(),
    }
    return {"type": one.task.job_type} | {name: value for name, value in said.items() if value is not None}


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
    """Return the schema of a job of this task, with an example."""
    job_type = one.task.job_type
    payload = ref(one.name)
    is_needed = bool(one.schema.get("required"))
    return {
        "type": "object",
        "description": one.summary or f"A job of type {job_type}.",
        "required": ["type", "payload"] if is_needed else ["type"],
        "properties": {
            "type": {"const": job_type},
            "payload": payload if is_needed else {"anyOf": [payload, {"type": "null"}]},
            **OPTIONS,
        },
        "examples": [{"type": job_type, "payload": one.example()}],
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
