"""Keys: what may be one, and whose it is."""

from typing import Any

import pytest

from gotaskq.errors import InvalidRequestError
from gotaskq.keys import checked_key, in_scope, without_scope


@pytest.mark.parametrize("key", ["a", "w:1", "!", "~", "{}%", '"quoted"', "k" * 255])
def test_visible_ascii_is_a_key(key: str) -> None:
    assert checked_key(key, field="unique_key") == key


@pytest.mark.parametrize("key", ["", "a b", " a", "a\t", "a\n", "\x7f", "ä", "k" * 256, 7, None, True, b"a"])
def test_nothing_else_is(key: Any) -> None:
    with pytest.raises(InvalidRequestError, match="unique_key must be 1 to 255 visible ASCII") as refusal:
        checked_key(key, field="unique_key")

    assert refusal.value.field == "unique_key"


def test_no_key_reaches_into_the_scope_of_another() -> None:
    keys = {in_scope(key, principal) for key in ("k", "ak") for principal in ("", "a", "aa")}

    assert len(keys) == 6
    assert {without_scope(key) for key in keys} == {"k", "ak"}
    for key in keys - {"k", "ak"}:
        with pytest.raises(InvalidRequestError):
            checked_key(key, field="idempotency_key")
