"""Payload types: written from arguments, checked at the door, read back as the function's annotations say."""

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pydantic
import pytest
from msgspec import Meta

from gotaskq.errors import (
    InvalidPayloadError,
    InvalidRequestError,
    PayloadMismatchError,
    PayloadVersionError,
    RegistrationError,
)
from gotaskq.payload_type import PayloadType, Upcast
from gotaskq.signature import read_signature


class Colour(enum.Enum):
    RED = "red"


class Item(msgspec.Struct):
    sku: str
    price: Decimal


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1)
    born: datetime


def payload_type(function: Callable[..., object], *, version: int = 1, upcast: Upcast | None = None) -> PayloadType:
    return PayloadType(read_signature(function), job_type="email", version=version, upcast=upcast)


def email(to: Annotated[str, Meta(pattern="@")], subject: str = "hi", *, copies: int = 1) -> None: ...
def order(items: list[Item], colour: Colour, at: datetime, key: UUID) -> None: ...
def greet(person: Person, others: list[Person] = []) -> None: ...  # noqa: B006
def anything(value: Any) -> None: ...
def sweep(depth: int = 1) -> None: ...


EMAIL = payload_type(email)


@pytest.mark.parametrize(
    ("args", "kwargs", "payload"),
    [
        (("a@b.c",), {}, b'{"to":"a@b.c","subject":"hi","copies":1}'),
        ((), {"to": "a@b.c"}, b'{"to":"a@b.c","subject":"hi","copies":1}'),
        (("a@b.c", "x"), {"copies": 2}, b'{"to":"a@b.c","subject":"x","copies":2}'),
    ],
)
def test_a_payload_is_all_arguments_with_defaults(
    args: tuple[object, ...], kwargs: dict[str, object], payload: bytes
) -> None:
    assert EMAIL.encode(args, kwargs) == payload


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "email: Missing required argument 'to'"),
        (("a@b.c",), {"bcc": 1}, "email: Unexpected keyword argument 'bcc'"),
        (("a@b.c",), {"to": "x"}, "email: got two values for argument 'to'"),
        (("a@b.c", "x", 2), {}, "email: takes 2 positional arguments, not 3"),
    ],
)
def test_wrong_arguments_are_a_type_error(args: tuple[object, ...], kwargs: dict[str, object], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        EMAIL.encode(args, kwargs)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], object(), "\ud800"])
def test_a_value_without_a_json_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        payload_type(anything).encode((value,), {})

    assert refused.value.field == "payload"


def test_what_was_written_is_read_as_it_was() -> None:
    kwargs = {
        "items": [Item("a", Decimal("1.10"))],
        "colour": Colour.RED,
        "at": datetime(2026, 11, 23, tzinfo=UTC),
        "key": UUID(int=7),
    }
    kind = payload_type(order)

    assert kind.arguments(kind.encode((), kwargs)) == kwargs


def test_models_of_pydantic_are_written_and_read_by_their_own_methods() -> None:
    ada = Person(name="Ada", born=datetime(1815, 12, 10, tzinfo=UTC))
    kind = payload_type(greet)

    payload = kind.encode((ada, [ada]), {})

    assert msgspec.json.decode(payload)["person"] == {"name": "Ada", "born": "1815-12-10T00:00:00Z"}
    assert kind.arguments(payload) == {"person": ada, "others": [ada]}


@pytest.mark.parametrize(
    ("function", "payload", "field", "words"),
    [
        (email, b'{"to":1}', "$.payload.to", "Expected `str`, got `int`"),
        (email, b'{"to":"a"}', "$.payload.to", "Expected `str` matching regex '@'"),
        (email, b'{"subject":""}', "$.payload.to", "Object missing required field `to`"),
        (email, b'{"to":"@","bcc":1}', "$.payload.bcc", "Object contains unknown field `bcc`"),
        (email, b'{"to":"@","$v":0}', "$.payload.$v", "$v must be a whole number from 1 to 1"),
        (email, b'{"to":"@","$v":true}', "$.payload.$v", "$v must be a whole number from 1 to 1"),
        (email, b'{"to":"@","$v":2}', "$.payload.$v", "email of version 2 is newer than the code here"),
        (email, b'["@"]', "$.payload", "Expected `object`, got `array`"),
        (email, b"null", "$.payload.to", "Object missing required field `to`"),
        (order, b'{"items":[{"sku":"a"}]}', "$.payload.items[0].price", "Object missing required field `price`"),
        (order, b'{"items":[{"sku":"a","price":"x"}]}', "$.payload.items[0].price", "Invalid decimal string"),
        (order, b'{"items":[],"colour":"blue"}', "$.payload.colour", "Invalid enum value 'blue'"),
        (greet, b'{"person":{"name":""}}', "$.payload.person", "name: String should have at least 1 character"),
        (anything, b'{"value":%b}' % (b"9" * 5000), "$.payload.value", "Integer value out of range"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_its_place(
    function: Callable[..., object], payload: bytes, field: str, words: str
) -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        payload_type(function).check(payload)

    assert refused.value.field == field
    assert str(refused.value).startswith(f"invalid payload: {words}")


def test_what_a_stranger_sent_is_quoted_in_part_only() -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        EMAIL.check(b'{"to":"@","%b":1}' % (b"x" * 100_000))

    assert refused.value.field is not None
    assert len(refused.value.field) < 300
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("payload", [b"null", b"{}", b'{"depth":1}', b'{"$v":1}'])
def test_no_payload_is_as_good_as_an_empty_one(payload: bytes) -> None:
    kind = payload_type(sweep)

    kind.check(payload)

    assert kind.arguments(payload) == {"depth": 1}


def test_a_stored_payload_that_does_not_fit_names_the_task_and_the_place() -> None:
    with pytest.raises(PayloadMismatchError) as refused:
        EMAIL.arguments(b'{"to":7}')

    assert str(refused.value) == ("the payload does not fit task 'email': Expected `str`, got `int`, at $.payload.to")


# ---- versions


def rename(payload: dict[str, Any], from_version: int) -> dict[str, Any]:
    """Version 1 had `address`, version 2 `recipient`, version 3 has `to`."""
    return {"to": payload["address"] if from_version == 1 else payload["recipient"]}


VERSIONED = payload_type(email, version=3, upcast=rename)


def test_a_later_version_travels_in_the_payload() -> None:
    payload = VERSIONED.encode(("a@b.c",), {})

    assert msgspec.json.decode(payload) == {"to": "a@b.c", "subject": "hi", "copies": 1, "$v": 3}
    assert VERSIONED.arguments(payload) == {"to": "a@b.c", "subject": "hi", "copies": 1}


@pytest.mark.parametrize(
    "payload",
    [b'{"address":"a@b.c"}', b'{"address":"a@b.c","$v":1}', b'{"recipient":"a@b.c","$v":2}'],
)
def test_older_payloads_are_made_new_at_the_door_and_when_they_run(payload: bytes) -> None:
    VERSIONED.check(payload)

    assert VERSIONED.arguments(payload) == {"to": "a@b.c", "subject": "hi", "copies": 1}


def test_an_upcast_that_raises_refuses_the_payload_without_its_words() -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        VERSIONED.check(b'{"$v":2}')

    assert str(refused.value) == "invalid payload: upcast from version 2 raised KeyError"


@pytest.mark.parametrize("kind", [EMAIL, VERSIONED])
def test_a_stored_payload_of_a_later_version_waits_for_a_newer_worker(kind: PayloadType) -> None:
    with pytest.raises(PayloadVersionError, match="email of version 4 is newer than the code here, which knows"):
        kind.arguments(b'{"to":"@","$v":4}')


@pytest.mark.parametrize(
    ("version", "upcast", "words"),
    [
        (0, None, "version 0 of task 'email' must be a whole number from 1"),
        (True, None, "version True of task 'email' must be a whole number from 1"),
        (2, None, "task 'email' has version 2 and no upcast"),
        (1, rename, "task 'email' has version 1 and an upcast"),
    ],
)
def test_a_version_and_its_upcast_come_together(version: int, upcast: Upcast | None, words: str) -> None:
    with pytest.raises(RegistrationError, match=words):
        payload_type(email, version=version, upcast=upcast)
