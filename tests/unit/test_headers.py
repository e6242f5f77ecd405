"""Headers: what is taken, what is refused and for what, and which trace a request names."""

import pytest

from gotaskq.errors import InvalidRequestError
from gotaskq.headers import MAX_BYTES, MAX_HEADERS, MAX_VALUE_BYTES, decode_headers, encode_headers, trace_of

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "headers",
    [
        {"a": ""},
        {"x-tenant-7": "größe, 大きさ, 👩‍🚀"},
        {"n" * 64: "x" * MAX_VALUE_BYTES},
        {f"h{number}": "x" for number in range(MAX_HEADERS)},
        dict.fromkeys("abcd", "x" * (MAX_VALUE_BYTES - 1)),  # as many bytes as there may be
    ],
)
def test_what_is_within_the_limits_comes_back(headers: dict[str, str]) -> None:
    encoded = encode_headers(headers)

    assert encoded is not None
    assert decode_headers(encoded) == headers


@pytest.mark.parametrize("headers", [None, {}])
def test_none_are_nothing(headers: dict[str, str] | None) -> None:
    assert encode_headers(headers) is None


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Tenant": "x"}, "header name 'Tenant' must be"),
        ({"": "x"}, "header name '' must be"),
        ({"a_b": "x"}, "header name 'a_b' must be"),
        ({"größe": "x"}, r"header name 'gr\\xf6\\xdfe' must be"),
        ({"n" * 65: "x"}, "header name 'nnn"),
        ({7: "x"}, "header name 7 must be"),
        ({"a": 7}, "header a must be text"),
        ({"a": "x\ny"}, "without control characters"),
        ({"a": "x\x00"}, "without control characters"),
        ({"a": "x\x85"}, "without control characters"),
        ({"a": "x\u2028"}, "without control characters"),
        ({"a": "\ud83d"}, "without control characters"),
        ({"a": "ö" * 513}, "header a has 1026 bytes"),
        ({f"h{number}": "x" for number in range(MAX_HEADERS + 1)}, "headers are 17; at most 16"),
        (dict.fromkeys("abcd", "x" * MAX_VALUE_BYTES), f"headers have {MAX_BYTES + 4} bytes"),
        ([("a", "b")], "not list"),
    ],
)
def test_what_is_beyond_them_is_refused_by_name(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason) as refused:
        encode_headers(headers)

    assert refused.value.field == "headers"


@pytest.mark.parametrize("values", [[TRACE], [f" {TRACE}\t"], [f"01{TRACE[2:]}-more"]])
def test_a_trace_that_is_one_is_taken(values: list[str]) -> None:
    assert trace_of(values) == values[0].strip()


@pytest.mark.parametrize(
    "values",
    [
        [],
        [TRACE, TRACE],
        [""],
        [TRACE.upper()],
        [f"ff{TRACE[2:]}"],
        [TRACE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32)],
        [TRACE.replace("b7ad6b7169203331", "0" * 16)],
        [f"{TRACE}\r\nx"],
    ],
)
def test_one_that_is_none_is_as_if_it_had_not_come(values: list[str]) -> None:
    assert trace_of(values) is None
