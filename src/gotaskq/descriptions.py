"""Descriptions of job types: what `GET /types` says of each, and what workers publish of theirs.

Made of the tasks an app has. Pure: tasks go in, plain data comes out.
Invariant: a payload the description calls right is one the door takes; both are made from the same types.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from gotaskq.custom_types import schema_of
from gotaskq.examples import example_of, mend
from gotaskq.payload_schema import READ_BY_CODE
from gotaskq.task import AnyTask

Schema: TypeAlias = dict[str, Any]

DECIMAL: Final = r"^-?[0-9]+(\.[0-9]+)?$"
WITHIN: Final = "#/$defs/{name}"
MAX_NOTICE_BYTES: Final = 65_536  # every process of the fleet reads them all

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Description:
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

    def entry(self) -> dict[str, Any]:
        """Return what `GET /types` says of it, where its references lead into its own `$defs`."""
        door = self.task.at_the_door
        parts = {name: schema for name, schema in self.schemas.items() if name != self.name}
        said = {
            "description": self.summary,
            "queue": door.queue,
            "priority": door.priority,
            "max_retries": door.max_retries,
            "version": self.task.payload_type.version,
            "schema": self.schema | ({"$defs": parts} if parts else {}),
            "example": self.example(),
        }
        return {"type": self.task.job_type} | {name: value for name, value in said.items() if value is not None}


def describe_types(tasks: Mapping[str, AnyTask], job_types: Iterable[str]) -> list[dict[str, Any]]:
    """Return an entry for each job type, sorted: of a task its defaults, its schema and an example."""
    return _entries(tasks, job_types, is_marked=False)


def notices_of(tasks: Mapping[str, AnyTask], job_types: Iterable[str]) -> list[bytes]:
    """Return these entries as JSON, for those that do not have the code; what only code can read is marked."""
    return [_notice(entry) for entry in _entries(tasks, job_types, is_marked=True)]


def describe(tasks: Sequence[AnyTask], *, template: str, is_marked: bool = False) -> list[Description]:
    """Return each task with the schema of its payload, and of all the payloads are made of, by name."""
    lifted: Schema = {}

    def hook(cls: Any) -> Schema:
        schema = schema_of(cls, template.replace("{name}", "{model}"))
        lifted.update(schema.pop("$defs", {}))
        return {READ_BY_CODE: True, **schema} if is_marked else schema

    structs = [task.payload_type.struct for task in tasks]
    references, schemas = msgspec.json.schema_components(structs, schema_hook=hook, ref_template=template)
    prefix = template.removesuffix("{name}").rpartition("/")[2]
    every = {f"{prefix}{name}": _with_decimals(schema) for name, schema in {**lifted, **schemas}.items()}
    names = [str(reference["$ref"]).rpartition("/")[2] for reference in references]
    return [Description(task, name, every) for task, name in zip(tasks, names, strict=True)]


def _entries(tasks: Mapping[str, AnyTask], job_types: Iterable[str], *, is_marked: bool) -> list[dict[str, Any]]:
    plain = [{"type": job_type} for job_type in job_types if job_type not in tasks]
    described = [
        one.entry() for task in tasks.values() for one in describe([task], template=WITHIN, is_marked=is_marked)
    ]
    return sorted([*plain, *described], key=lambda entry: str(entry["type"]))


def _notice(entry: dict[str, Any]) -> bytes:
    notice = msgspec.json.encode(entry, order="sorted")
    if len(notice) <= MAX_NOTICE_BYTES:
        return notice
    logger.warning("schema_not_published", extra={"type": entry["type"], "bytes": len(notice)})
    small = {name: value for name, value in entry.items() if name not in ("schema", "example", "description")}
    return msgspec.json.encode(small, order="sorted")


def _with_decimals(schema: Any) -> Any:
    """Return a schema that says all of what msgspec takes for a Decimal: a number, or text that is one."""
    if isinstance(schema, list):
        return [_with_decimals(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: _with_decimals(part) for name, part in schema.items()}
    return {**parts, "type": ["string", "number"], "pattern": DECIMAL} if parts.get("format") == "decimal" else parts
