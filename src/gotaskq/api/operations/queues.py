"""The operations on queues."""

from typing import Final

from gotaskq.api.operations.words import COUNT, JSON, MESSAGE, OPTIONS, Schema, in_path, json_of, operation
from gotaskq.names import RESERVED_QUEUE_NAMES
from gotaskq.queue_rules import COUNTS, ORDERINGS, SECONDS

STATS: Final[Schema] = {
    "type": "object",
    "required": ["name", "ready", "scheduled", "running", "dead", "depth", "paused", "latency_seconds"],
    "properties": {
        "name": {"type": "string"},
        "ready": COUNT,
        "scheduled": COUNT,
        "running": COUNT,
        "dead": COUNT,
        "depth": {**COUNT, "description": "ready and scheduled"},
        "paused": {"type": "boolean"},
        "latency_seconds": {"type": "number", "description": "for how long the oldest ready job has been due"},
        "draining": {"type": "boolean", "description": "there when it is: no new jobs are taken"},
    },
}
PURGED: Final[Schema] = {
    **STATS,
    "required": [*STATS["required"], "purged"],
    "properties": {**STATS["properties"], "purged": COUNT},
}
SETTINGS: Final[Schema] = {
    "type": "object",
    "description": "null: not set, so what holds everywhere holds here",
    "properties": {
        "ordering": {"enum": [*ORDERINGS, None]},
        **{
            name: {"type": ["integer", "null"], "minimum": least, "maximum": most}
            for name, (least, most) in COUNTS.items()
        },
        **{
            name: {"type": ["number", "null"], "minimum": least, "maximum": most}
            for name, (least, most) in SECONDS.items()
        },
    },
    "additionalProperties": False,
}


def queues_operations() -> dict[str, dict[str, Schema]]:
    """Return the paths of queues, with their methods and what they take and answer."""
    name = in_path("name", OPTIONS["queue"]["pattern"])
    name["schema"]["not"] = {"enum": sorted(RESERVED_QUEUE_NAMES)}
    body = {"required": True, "content": {JSON: {"schema": SETTINGS}}}
    all_stats = {"type": "object", "required": ["queues"], "properties": {"queues": {"type": "array", "items": STATS}}}

    def one(summary: str, answer: Schema, *refusals: int, body: Schema | None = None) -> Schema:
        return operation(summary, {200: json_of(answer)}, (400, 404, *refusals, 503), parameters=[name], body=body)

    return {
        "/queues": {"get": operation("List the queues with their figures", {200: json_of(all_stats)}, (503,))},
        "/queues/{name}": {
            "get": one("Look at a queue", STATS),
            "delete": one("Delete an empty queue", MESSAGE, 409),
        },
        "/queues/{name}/stats": {"get": one("Look at a queue, as a scaler does", STATS)},
        "/queues/{name}/settings": {
            "get": one("Look at a queue's settings", SETTINGS),
            "patch": one("Change some of a queue's settings", SETTINGS, 413, 415, body=body),
        },
        "/queues/{name}/pause": {"post": one("Give out none of a queue's jobs", STATS, 415)},
        "/queues/{name}/resume": {"post": one("Give a queue's jobs out again, and take new ones", STATS, 415)},
        "/queues/{name}/drain": {"post": one("Take no new jobs, and finish those that are there", STATS, 415)},
        "/queues/{name}/purge": {"post": one("Delete a queue's waiting jobs", PURGED, 415)},
    }
