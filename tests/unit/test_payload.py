"""Payloads: any JSON, back verbatim, within limits that every decoder downstream can take."""

import json
import math
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from gotaskq.errors import InvalidRequestError, PayloadDecodeError
from gotaskq.payload import MAX_DEPTH, check_payload, decode_payload, encode_payload

LONG: Final = b" " * 1_000  # so that no short cut for short payloads is taken

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


def nested(depth: int, *, opening: bytes = b"[", inside: bytes = b"", closing: bytes = b"]") -> bytes:
    return opening * depth + inside + closing * depth


def refused(payload: bytes) -> str:
    """Check what must be refused and return the message."""
    with pytest.raises(InvalidRequestError) as error:
        check_payload(payload)
    assert error.value.field == "payload"
    return str(error.value)


def refused_value(value: object) -> str:
    with pytest.raises(InvalidRequestError) as error:
        encode_payload(value)
    assert error.value.field == "payload"
    return str(error.value)


class TestDepth:
    @pytest.mark.parametrize("padding", [b"", LONG])
    def test_64_levels_pass(self, padding: bytes) -> None:
        check_payload(nested(MAX_DEPTH) + padding)
        check_payload(nested(MAX_DEPTH, opening=b'{"a":', inside=b"1", closing=b"}") + padding)
        check_payload(nested(MAX_DEPTH // 2, opening=b'[{"a":', inside=b"1", closing=b"}]") + padding)

    @pytest.mark.parametrize("padding", [b"", LONG])
    def test_65_levels_are_refused(self, padding: bytes) -> None:
        assert "64 levels" in refused(nested(MAX_DEPTH + 1) + padding)
        refused(nested(MAX_DEPTH + 1, opening=b'{"a":', inside=b"1", closing=b"}") + padding)
        refused(b"[" + nested(MAX_DEPTH // 2, opening=b'[{"a":', inside=b"1", closing=b"}]") + b"]" + padding)

    def test_depth_is_not_width(self) -> None:
        check_payload(b"[" + b",".join([b"[]"] * 10_000) + b"]")

    def test_a_deep_end_after_a_flat_beginning_is_found(self) -> None:
        refused(b'{"flat":[[],[],{}],"deep":' + nested(MAX_DEPTH) + b"}")

    def test_brackets_in_strings_do_not_count(self) -> None:
        check_payload(b'"' + b"[{" * 100 + b'"')
        check_payload(rb'["\"' + b"[" * 200 + rb'\\",1]')

    def test_brackets_behind_a_string_do(self) -> None:
        refused(rb'["a\\",' + nested(MAX_DEPTH) + b"]")
        refused(rb'["\\\"[",' + nested(MAX_DEPTH) + b"]")

    def test_a_hundred_thousand_levels_are_no_trouble(self) -> None:
        refused(nested(100_000))

    @settings(max_examples=50)
    @given(depth=st.integers(1, 130), text=st.text(alphabet='[]{}"\\a'))
    def test_the_limit_is_the_depth(self, depth: int, text: str) -> None:
        payload = nested(depth - 1, inside=json.dumps([text]).encode())

        if depth <= MAX_DEPTH:
            check_payload(payload)
        else:
            refused(payload)


class TestCharacters:
    def test_utf_8_passes(self) -> None:
        check_payload('{"äöü":"\U0001f600\u2028"}'.encode())

    @pytest.mark.parametrize(
        "text", [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", "ä".encode("latin-1")]
    )
    def test_what_is_not_utf_8_is_refused(self, text: bytes) -> None:
        assert "UTF-8" in refused(b'{"a":"' + text + b'"}')

    @pytest.mark.parametrize("text", [rb"\ud83d\ude00", rb"\uD83D\uDE00", rb"\\ud800", rb"\\\\uDC00", rb"\u00e4"])
    def test_whole_pairs_and_escaped_backslashes_pass(self, text: bytes) -> None:
        check_payload(b'["' + text + b'"]')

    @pytest.mark.parametrize(
        "text", [rb"\ud800", rb"\uDFFF", rb"\ude00\ud83d", rb"\ud83dx\ude00", rb"\\\ud800", rb"\ud83d\\ude00"]
    )
    def test_half_a_pair_is_refused(self, text: bytes) -> None:
        assert "surrogate" in refused(b'["' + text + b'"]')
        refused(b'{"' + text + b'":1}')

    def test_half_a_pair_is_found_behind_whole_ones(self) -> None:
        refused(rb'["\ud83d\ude00",{"a":"\ud83d\ude00"},"\ud83d"]')

    def test_two_halves_in_two_strings_make_no_pair(self) -> None:
        refused(rb'["\ud83d","\ude00"]')


class TestEncode:
    @settings(max_examples=50)
    @given(value=json_values)
    def test_what_goes_in_comes_out(self, value: object) -> None:
        payload = encode_payload(value)

        check_payload(payload)
        assert json.loads(payload) == value
        assert decode_payload(payload) == value

    @pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**400])
    def test_integers_of_any_size_are_kept(self, number: int) -> None:
        payload = encode_payload({"n": number})

        assert payload == b'{"n":%d}' % number
        assert decode_payload(payload) == {"n": number}

    def test_an_integer_that_python_does_not_write_is_refused(self) -> None:
        assert "4300 digits" in refused_value(10**5_000)

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_in_json_is_refused_at_any_depth(self, number: float) -> None:
        @dataclass
        class Order:
            amount: float

        for value in (number, [number], {"a": ({"b": number}, None)}, Order(number), [None, "null", number]):
            assert "JSON has no word for" in refused_value(value)

    def test_null_itself_passes(self) -> None:
        assert encode_payload(None) == b"null"
        assert encode_payload(["null", None, {"null": 1.5}]) == b'["null",null,{"null":1.5}]'

    def test_depth_is_limited(self) -> None:
        value: list[object] = []
        for _ in range(MAX_DEPTH - 1):
            value = [value]

        assert encode_payload(value) == nested(MAX_DEPTH)
        assert "64 levels" in refused_value([value])

    def test_a_value_without_end_is_refused(self) -> None:
        endless: list[object] = []
        endless.append(endless)

        assert "cannot be written as JSON" in refused_value(endless)
        refused_value([None, endless])

    @pytest.mark.parametrize("value", [object(), {("a", "b"): 1}, 1j, "\ud800", ["\udfff"], {"\ud800": 1}])
    def test_what_has_no_json_form_is_refused(self, value: object) -> None:
        assert "cannot be written as JSON" in refused_value(value)

    @pytest.mark.parametrize("raw", [b"{", b"1 2", b"NaN", b'"\xff"', b'"a\n"'])
    def test_bytes_that_are_passed_on_as_they_are_must_be_json(self, raw: bytes) -> None:
        for value in (Raw(raw), {"inside": [Raw(raw)]}):
            with pytest.raises(InvalidRequestError) as error:
                encode_payload(value)
            assert error.value.field == "payload"

    def test_json_is_passed_on_as_it_is(self) -> None:
        assert encode_payload(Raw(b' {"a" : 1e400}')) == b' {"a" : 1e400}'


class TestDecode:
    @settings(max_examples=50)
    @given(value=json_values, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans())
    def test_any_spelling_of_json_is_decoded(self, value: object, indent: int | None, ascii_only: bool) -> None:
        payload = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()

        check_payload(payload)
        assert decode_payload(payload) == value

    def test_a_number_beyond_a_double_is_infinite(self) -> None:
        assert decode_payload(b"[1e400,-1e400]") == [math.inf, -math.inf]

    @pytest.mark.parametrize("digits", [20, 400, 4_300])
    def test_long_integers_are_exact(self, digits: int) -> None:
        assert decode_payload(b'{"n":' + b"7" * digits + b"}") == {"n": int("7" * digits)}

    @pytest.mark.parametrize("digits", [4_301, 5_000])
    def test_an_integer_that_python_refuses_is_named_as_such(self, digits: int) -> None:
        with pytest.raises(PayloadDecodeError, match=r"4300 digits.*job\.payload_json"):
            decode_payload(b'{"n":' + b"7" * digits + b"}")

    @pytest.mark.parametrize("payload", [b"", b"{", b"[1,]", b"{'a':1}", b"nul", b"\xff"])
    def test_what_is_no_json_is_a_decode_error_too(self, payload: bytes) -> None:
        with pytest.raises(PayloadDecodeError):
            decode_payload(payload)
