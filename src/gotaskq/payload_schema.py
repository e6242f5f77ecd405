"""Payload schemas: payloads checked by what another process's JSON Schema says of them, without its code.

The schema is read as the types it was made of, as far as they can be told from it, and msgspec decodes by those: the
same words, the same places and the same speed as where the code is (docs/decisions/0030-types-from-the-store.md).
Invariant: what the schema admits is never refused; a part that cannot be told admits all.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import GenericAlias
from typing import Annotated, Any, Final, Literal, TypeAlias, Union
from uuid import UUID

import msgspec
from msgspec import Meta

from gotaskq.errors import InvalidPayloadError
from gotaskq.payload_type import ROOT, blame, members_of
from gotaskq.signature import VERSION_MEMBER

Schema: TypeAlias = Mapping[str, Any]

READ_BY_CODE: Final = "x-gotaskq-read-by-code"  # marks a part whose schema says less than its code takes
DEFINITIONS: Final = "#/$defs/"

_BY_FORMAT: Final = {
    "date-time": datetime,
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
    "decimal": Decimal,
}
_STRING_RULES: Final = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_ITEM_RULES: Final = {"minItems": "min_length", "maxItems": "max_length"}
_SET_RULES: Final = {"minItems": "min_length"}
_MEMBER_RULES: Final = {"minProperties": "min_length", "maxProperties": "max_length"}
_NUMBER_RULES: Final = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}


class PayloadSchema:
    """The payloads of one version of a job type, as its schema has them."""

    def __init__(self, job_type: str, *, version: int, schema: Schema) -> None:
        self._job_type = job_type
        self._version = version
        self._decode = msgspec.json.Decoder(_Reader(schema.get("$defs", {})).read(schema)).decode

    def check(self, payload_json: bytes) -> None:
        """Raise InvalidPayloadError unless a handler of this version, or of an older one, may read this payload."""
        try:
            self._decode(payload_json)
        except msgspec.DecodeError as error:
            self._check_version(payload_json, error)

    def _check_version(self, payload_json: bytes, refused: msgspec.DecodeError) -> None:
        payload = members_of(payload_json)
        if payload is None:
            raise _refusal(refused)
        version = payload.pop(VERSION_MEMBER, 1)
        place = f"{ROOT}.{VERSION_MEMBER}"
        if type(version) is not int or version < 1:
            reason = f"{VERSION_MEMBER} must be a whole number from 1 to {self._version}"
            raise InvalidPayloadError(f"invalid payload: {reason}", field=place)
        if version > self._version:
            raise InvalidPayloadError(
                f"invalid payload: {self._job_type} of version {version} is newer than any worker here, which know "
                f"{self._version}",
                field=place,
            )
        if version < self._version:
            return  # what its upcast makes of it, only the code can tell
        if version > 1:
            payload[VERSION_MEMBER] = version
        try:
            self._decode(msgspec.json.encode(payload))
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
            raise _refusal(error) from error


def _refusal(error: Exception) -> InvalidPayloadError:
    reason, path = blame(error)
    return InvalidPayloadError(f"invalid payload: {reason}", field=f"{ROOT}{path}")


class _Reader:
    """Reads schemas as types; `definitions` is where their references lead."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        self._read: dict[str, Any] = {}  # by name; Any while it is being read

    def read(self, schema: Schema) -> Any:
        """Return a type that admits at least what the schema does."""
        try:
            told = self._told(schema)
            msgspec.json.Decoder(told)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError, re.error):
            return Any  # such as a union of two kinds of objects, or a pattern of another language
        return told

    def _told(self, schema: Schema) -> Any:
        if READ_BY_CODE in schema:
            return Any
        if "$ref" in schema:
            return self._referred(schema["$ref"])
        if "anyOf" in schema:
            return Union[tuple(map(self.read, schema["anyOf"]))]  # noqa: UP007 - of a tuple
        if "enum" in schema or "const" in schema:
            return Literal[tuple(schema.get("enum", (schema.get("const"),)))]
        kinds = schema.get("type")
        if isinstance(kinds, list):
            if schema.get("format") in _BY_FORMAT:
                return _BY_FORMAT[schema["format"]]
            return Union[tuple(self.read({**schema, "type": kind}) for kind in kinds)]  # noqa: UP007 - as above
        reads: Mapping[str | None, Callable[[Schema], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": _string,
            "integer": lambda schema: _ruled(int, schema, _NUMBER_RULES),
            "number": lambda schema: _ruled(float, schema, _NUMBER_RULES),
            "boolean": lambda _: bool,
            "null": lambda _: None,
        }
        return reads[kinds](schema)

    def _referred(self, target: str) -> Any:
        name = target.removeprefix(DEFINITIONS)
        if name not in self._read:
            self._read[name] = Any  # of a type made of itself, one turn is checked
            self._read[name] = self.read(self._definitions[name])
        return self._read[name]

    def _object(self, schema: Schema) -> Any:
        members: Mapping[str, Schema] = schema.get("properties", {})
        more = schema.get("additionalProperties", True)
        if not members and more is not False:
            return _ruled(
                GenericAlias(dict, (str, self.read(more) if isinstance(more, dict) else Any)), schema, _MEMBER_RULES
            )
        required = {name for name in schema.get("required", ()) if not _is_tag(members[name])}
        names = {f"member_{place}": name for place, name in enumerate(members)}  # any text may be a member's name
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
            (field, self.read(members[name]), *(() if name in required else (None,))) for field, name in names.items()
        ]
        return msgspec.defstruct(
            "Payload", fields, kw_only=True, forbid_unknown_fields=more is False, rename=names, gc=False
        )

    def _array(self, schema: Schema) -> Any:
        items, places = schema.get("items"), schema.get("prefixItems")
        if places is not None:
            is_fixed = schema.get("minItems") == schema.get("maxItems") == len(places)
            return GenericAlias(tuple, tuple(map(self.read, places))) if is_fixed else list[Any]
        # In a set what is there twice counts once, so more items may come than it may hold.
        rules = _SET_RULES if schema.get("uniqueItems") else _ITEM_RULES
        return _ruled(GenericAlias(list, self.read(items) if isinstance(items, dict) else Any), schema, rules)


def _string(schema: Schema) -> Any:
    if schema.get("contentEncoding") == "base64":
        return bytes
    by_format = _BY_FORMAT.get(schema.get("format", ""))
    return by_format or _ruled(str, schema, _STRING_RULES)


def _ruled(kind: Any, schema: Schema, rules: Mapping[str, str]) -> Any:
    given = {name: schema[rule] for rule, name in rules.items() if rule in schema}
    return Annotated[kind, Meta(**given)] if given else kind


def _is_tag(schema: Schema) -> bool:
    """Whether a member can have one value only: it is said to be required, and where it is missing nothing is lost."""
    return len(schema.get("enum", ())) == 1 or "const" in schema
