"""Headers: short texts by name that travel with a job beside its payload, such as a trace or a tenant.

Written at the door, kept with the job, read by handlers and middleware.
Invariant: what passed `encode_headers` is one JSON object without control characters, so that a store may keep it in a
line of text.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from gotaskq.errors import InvalidRequestError

MAX_HEADERS: Final = 16
MAX_VALUE_BYTES: Final = 1_024
MAX_BYTES: Final = 4_096  # of all names and values; an HTTP server takes about twice that of a request
TRACEPARENT: Final = "traceparent"
OWN_HEADERS: Final = "gotaskq-"  # names that begin so are ours to write
REPLAYED_FROM: Final = "replayed-from"  # the id that a job taken in from an export had where it died

_VISIBLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
_NAME = re.compile(r"[a-z0-9-]{1,64}")
_NO_TRACE = re.compile(r"ff-|[0-9a-f]{2}-0{32}-|[0-9a-f]{2}-[0-9a-f]{32}-0{16}-")
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]{0,200})?")

decode_headers: Final = msgspec.json.Decoder(dict[str, str]).decode


def encode_headers(headers: Mapping[str, str] | None) -> bytes | None:
    """Return headers as JSON, None where there are none; raises InvalidRequestError for what cannot be one."""
    if not headers:
        return None
    if not isinstance(headers, Mapping):
        raise _refusal(f"headers must be texts by name, not {type(headers).__name__}")
    if len(headers) > MAX_HEADERS:
        raise _refusal(f"headers are {len(headers)}; at most {MAX_HEADERS} are kept with a job")
    all_bytes = sum(_checked_bytes(name, value) for name, value in headers.items())
    if all_bytes > MAX_BYTES:
        raise _refusal(f"headers have {all_bytes} bytes; names and values may have {MAX_BYTES} together")
    return msgspec.json.encode(dict(headers))


def callers_own(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers a caller sent, without those we wrote ourselves."""
    return {name: value for name, value in headers.items() if not name.startswith(OWN_HEADERS)}


def trace_of(values: list[str]) -> str | None:
    """Return the trace these `traceparent` headers of one HTTP request name; None where it is not one that is valid.

    By the rules of W3C Trace Context, what is not valid is as if it had not come.
    """
    if len(values) != 1:
        return None
    value = values[0].strip(" \t")
    return value if _TRACE.fullmatch(value) and not _NO_TRACE.match(value) else None


def _checked_bytes(name: object, value: object) -> int:
    """Return how many bytes a header has."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise _refusal(f"header name {_shown(name)} must be 1 to 64 of a-z 0-9 -")
    if name.startswith(OWN_HEADERS):
        raise _refusal(f"header {name} is not yours to send: names that begin with {OWN_HEADERS} are reserved")
    if not isinstance(value, str) or _VISIBLE.fullmatch(value) is None:
        raise _refusal(f"header {name} must be text without control characters")
    value_bytes = len(value.encode())
    if value_bytes > MAX_VALUE_BYTES:
        raise _refusal(f"header {name} has {value_bytes} bytes; at most {MAX_VALUE_BYTES} are kept")
    return len(name) + value_bytes


def _shown(name: object) -> str:
    return ascii(name)[:80]


def _refusal(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, field="headers")
