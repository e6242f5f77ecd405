"""Payloads: any JSON value, kept as the bytes that were sent.

Used by the door (check), the library (encode) and handlers (decode).
Invariant: bytes that passed `check_payload` are valid JSON in valid UTF-8, no deeper than MAX_DEPTH, and come back
verbatim.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gotaskq.errors import InvalidRequestError, PayloadDecodeError

MAX_DEPTH: Final = 64  # deeper than any honest payload, far from every decoder's recursion limit
BACKSLASH: Final = ord("\\")  # a number is found in bytes at once; for bytes in bytes an exception is made first
SHORT_PAYLOAD_BYTES: Final = 2 * MAX_DEPTH  # a level takes two bytes: one this short is not too deep

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_BRACKETS_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_decode = msgspec.json.decode
_encode = msgspec.json.encode
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


def encode_payload(value: object, *, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """Encode a Python value as JSON; raises InvalidRequestError when it has no JSON form."""
    try:
        payload = _encode(value, enc_hook=enc_hook)
        _check_json(payload)  # a msgspec.Raw in the value is written as it is
        if payload.find(b"null") >= 0:
            _refuse_nan(value, enc_hook)
        check_payload(payload)
    except InvalidRequestError:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidRequestError(f"payload cannot be written as JSON: {error}", field="payload") from error
    return payload


def check_payload(payload: bytes) -> None:
    """Raise InvalidRequestError unless the bytes, known to be JSON by their grammar, are within our limits.

    The caller has parsed the surrounding document; what its parser skips over is checked here: depth, UTF-8,
    surrogates.
    """
    if len(payload) > SHORT_PAYLOAD_BYTES and _is_too_deep(payload):
        raise InvalidRequestError(f"payload is nested deeper than {MAX_DEPTH} levels", field="payload")
    if not payload.isascii():
        _check_utf8(payload)
    if BACKSLASH in payload and b"\\u" in payload and _has_half_a_pair(payload):
        raise InvalidRequestError("payload holds half a surrogate pair", field="payload")


def decode_payload(payload: bytes) -> object:
    """Decode JSON to Python values; raises PayloadDecodeError for what Python cannot hold."""
    try:
        return _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass  # msgspec refuses numbers the standard library can hold: 1e400, integers of 400 digits
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise PayloadDecodeError(
            f"the payload cannot be decoded: {error}; its bytes are in job.payload_json"
        ) from error


def _refuse_nan(value: object, enc_hook: Callable[[Any], Any] | None) -> None:
    # msgspec writes NaN and infinities as null; a payload must not change its meaning on the way in.
    for item in _leaves(value, enc_hook):
        if isinstance(item, float) and (item != item or item in (float("inf"), float("-inf"))):
            raise InvalidRequestError(f"payload holds {item}, which JSON has no word for", field="payload")


def _leaves(value: object, enc_hook: Callable[[Any], Any] | None) -> list[object]:
    leaves: list[object] = []
    pending = [msgspec.to_builtins(value, str_keys=True, enc_hook=enc_hook)]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
        else:
            leaves.append(item)
    return leaves


def _is_too_deep(payload: bytes) -> bool:
    """Say whether brackets are left after taking away the innermost pairs MAX_DEPTH times, a fast pass each."""
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRING.sub(b"", payload).translate(_BRACKETS_ALIKE, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"payload is not valid UTF-8: {error.reason}", field="payload") from error


def _has_half_a_pair(payload: bytes) -> bool:
    """Say whether a surrogate stands alone: half a pair is no character, and no UTF-8 decoder could take it."""
    escapes = payload.replace(rb"\\", b"")  # escaped backslashes gone, every \u left is an escape
    return _SURROGATE.search(_SURROGATE_PAIR.sub(b"?", escapes)) is not None
