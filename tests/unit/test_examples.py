"""Examples: values that fit their schema, made without asking anybody."""

from typing import Any

import msgspec
import pytest

from gotaskq.errors import InvalidPayloadError
from gotaskq.examples import example_of, mend

NODE = {
    "type": "object",
    "properties": {"next": {"$ref": "#/x/Node"}, "name": {"type": "string"}},
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({}, None),
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "pattern": "@"}, "ada@example.com"),
        ({"type": "string", "pattern": "^[0-9]{3}$"}, "123"),
        ({"type": "string", "format": "date"}, "2026-11-23"),
        ({"type": "string", "contentEncoding": "base64"}, "aGVsbG8="),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "null"}, None),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"type": "integer", "default": 9}, 9),
        ({"type": "string", "examples": ["mine"], "default": "not"}, "mine"),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"anyOf": [{"type": "null"}]}, None),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, []),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False}, [1, "text"]),
        ({"type": "object", "properties": {"a": {"type": "boolean"}}}, {"a": True}),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {}),
    ],
)
def test_an_example_fits_its_schema(schema: dict[str, Any], example: object) -> None:
    assert example_of(schema, {}) == example


def test_an_example_of_a_type_made_of_itself_ends() -> None:
    example = example_of({"$ref": "#/x/Node"}, {"Node": NODE})

    assert example["name"] == "text"
    assert len(msgspec.json.encode(example)) < 1_000


def test_a_text_of_an_unknown_form_is_mended() -> None:
    def check(payload: bytes) -> None:
        if not msgspec.json.decode(payload)["days"][0]["on"].startswith("2026"):
            raise InvalidPayloadError("no date", field="$.payload.days[0].on")

    assert mend({"days": [{"on": "text"}]}, check) == {"days": [{"on": "2026-11-23T10:00:00Z"}]}


@pytest.mark.parametrize("field", ["$.payload", "$.payload.a", "$.payload.nowhere[3].b", "$.payload.b"])
def test_what_cannot_be_mended_stays(field: str) -> None:
    def check(payload: bytes) -> None:
        raise InvalidPayloadError("never right", field=field)

    assert mend({"a": "text", "b": 1}, check) == {"a": "text", "b": 1}
