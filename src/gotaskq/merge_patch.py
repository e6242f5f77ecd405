"""JSON merge patches (RFC 7396) of payloads: members named are put in the place of others, null takes one away.

Used where dead jobs come back with their payload mended.
Invariant: what the patch does not name keeps its bytes, so numbers no decoder here could hold come through unharmed.
"""

import json
from typing import Any, Final

import msgspec
from msgspec import Raw

from gotaskq.errors import InvalidPayloadError, InvalidRequestError
from gotaskq.payload import check_payload, encode_payload

MAX_PATCHED_BYTES: Final = 1 << 20  # as much as comes in over HTTP; else a patch sent often enough would fill the store
FIELD: Final = "patch"
NULL: Final = b"null"

_members_of = msgspec.json.Decoder(dict[str, Raw]).decode
_name = msgspec.json.Encoder().encode


class MergePatch:
    """A patch, which is an object: a merge patch that is none would put the same payload into every job."""

    def __init__(self, patch: object) -> None:
        """Take what JSON can hold, or a msgspec.Raw of JSON; raises InvalidRequestError."""
        patch_json = bytes(patch) if isinstance(patch, Raw) else encode_payload(patch)
        if not _is_object(patch_json):
            raise InvalidRequestError("patch must be an object of the members that change (RFC 7396)", field=FIELD)
        try:
            check_payload(patch_json)
        except InvalidRequestError as error:
            raise InvalidRequestError(str(error).replace("payload", FIELD, 1), field=FIELD) from error
        json.loads(patch_json, object_pairs_hook=_refuse_repeated, parse_int=str, parse_float=str)
        self._patch_json = patch_json

    def apply(self, payload_json: bytes) -> bytes:
        """Return a payload as it is with the patch; raises InvalidPayloadError where it would be too large."""
        patched = _merged(payload_json, self._patch_json)
        if len(patched) > max(MAX_PATCHED_BYTES, len(payload_json)):
            raise InvalidPayloadError(
                f"the patched payload has {len(patched)} bytes; at most {MAX_PATCHED_BYTES} are taken",
                field="$.payload",
            )
        check_payload(patched)
        return patched


def _merged(target: bytes, patch: bytes) -> bytes:
    # As deep as the patch at most, and that has passed `check_payload`.
    if not _is_object(patch):
        return patch
    members = {name: bytes(value) for name, value in _members_of(target).items()} if _is_object(target) else {}
    for name, value in _members_of(patch).items():
        change = bytes(value).strip()
        if change == NULL:
            members.pop(name, None)
        else:
            members[name] = _merged(members.get(name, NULL), change)
    return b"{" + b",".join(_name(name) + b":" + value for name, value in members.items()) + b"}"


def _is_object(text: bytes) -> bool:
    return text.lstrip()[:1] == b"{"


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InvalidRequestError(f"patch has member {name[:64]!r} twice", field=FIELD)
