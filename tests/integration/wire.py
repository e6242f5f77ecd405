"""How the HTTP contract looks on the wire: what several tests compare with."""

import json
from typing import Final

from tests.integration.http_client import Answer

INSTANT: Final = rb'"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"'
ORIGINAL_MEMBERS: Final = [
    "id",
    "type",
    "payload",
    "status",
    "priority",
    "delay",
    "max_retries",
    "retry_count",
    "created_at",
    "updated_at",
    "run_after",
]


def assert_is_error(answer: Answer, status: int, message: str, *, field: str | None = None) -> None:
    """Compare an answer with our error object, byte for byte."""
    members = {"error": message} if field is None else {"error": message, "field": field}
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert answer.body == json.dumps(members, separators=(",", ":")).encode()
