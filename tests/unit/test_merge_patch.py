"""Merge patches: the examples of RFC 7396, and payloads whose bytes a decoder would not give back."""

import pytest
from msgspec import Raw

from gotaskq.errors import InvalidPayloadError, InvalidRequestError
from gotaskq.merge_patch import MAX_PATCHED_BYTES, MergePatch


@pytest.mark.parametrize(
    ("payload", "patch", "patched"),
    [
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('["a","b"]', '{"c":"d"}', '{"c":"d"}'),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    ],
)
def test_a_patch_does_what_the_rfc_says(payload: str, patch: str, patched: str) -> None:
    assert MergePatch(Raw(patch.encode())).apply(payload.encode()).decode() == patched


def test_what_is_not_named_keeps_its_bytes() -> None:
    payload = b'{ "n": 1.0, "huge": 1e400, "big": 123456789012345678901234567890, "s": "\\u00e9", "to": { "x" : 1 } }'

    patched = MergePatch({"to": {"y": 2}}).apply(payload)

    assert patched == (b'{"n":1.0,"huge":1e400,"big":123456789012345678901234567890,"s":"\\u00e9","to":{"x":1,"y":2}}')


@pytest.mark.parametrize(
    "patch", [b"null", b"[]", b"7", b'"a"', b'{"a":1,"a":2}', b'{"a":{"b":1,"b":2}}', b'{"a":"\\ud800"}']
)
def test_what_is_no_patch_is_refused(patch: bytes) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        MergePatch(Raw(patch))

    assert refused.value.field == "patch"
    assert "patch" in str(refused.value)


def test_a_patch_that_is_too_deep_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="patch is nested deeper than 64 levels"):
        MergePatch(Raw(b'{"a":' * 65 + b"1" + b"}" * 65))


def test_a_payload_grows_no_larger_than_one_that_comes_in() -> None:
    large = b'{"a":"%b"}' % (b"x" * (MAX_PATCHED_BYTES - 20))

    assert len(MergePatch({"b": 1}).apply(large)) < MAX_PATCHED_BYTES
    with pytest.raises(InvalidPayloadError, match="at most 1048576 are taken") as refused:
        MergePatch({"b": "x" * 20}).apply(large)
    assert refused.value.field == "$.payload"


def test_a_payload_that_is_larger_already_may_shrink() -> None:
    large = b'{"a":"%b","b":1}' % (b"x" * MAX_PATCHED_BYTES)

    assert len(MergePatch({"b": None}).apply(large)) == len(large) - len(b',"b":1')
