"""What is asked of payloads in a listing: a place in them, and the value that must be there.

Part of `JobQuery`; every backend filters with it. A payload is looked into only where the bytes may hold the place.
"""

from typing import Final

import msgspec

from gotaskq.errors import GotaskqError, InvalidRequestError
from gotaskq.payload import BACKSLASH, decode_payload

MAX_PATH: Final = 256  # characters; longer than any honest path


class PayloadCriterion(msgspec.Struct, frozen=True, gc=False):
    """A path through objects and arrays, and the text of the value at its end.

    The text is that of a string, or JSON: `7` admits the number and the string, `"7"` the string alone. With `is_json`
    it is JSON only.
    """

    path: tuple[str, ...]
    text: str
    is_json: bool = False

    def admits(self, payload_json: bytes) -> bool:
        """Say whether the payload has such a value there."""
        try:
            if not self._may_be_in(payload_json):
                return False
            value = _value_at(decode_payload(payload_json), self.path)
        except (GotaskqError, LookupError, UnicodeEncodeError):
            return False
        return (not self.is_json and value == self.text) or self._is_json_of(value)

    def _may_be_in(self, payload_json: bytes) -> bool:
        """Say whether decoding is worth it: the last member's name is there, or something is escaped."""
        last = self.path[-1]
        return last.encode() in payload_json or BACKSLASH in payload_json or _is_place(last)

    def _is_json_of(self, value: object) -> bool:
        try:
            wanted = decode_payload(self.text.encode())
        except (GotaskqError, UnicodeEncodeError):
            return False
        # To Python True is 1, to JSON it is not.
        return wanted == value and isinstance(wanted, bool) == isinstance(value, bool)


def payload_criterion(path: str, text: str, *, is_json: bool = False) -> PayloadCriterion:
    """Return the criterion of a dotted path; raises InvalidRequestError for one that leads nowhere."""
    steps = tuple(path.split("."))
    if not all(steps) or len(path) > MAX_PATH:
        raise InvalidRequestError(
            f"payload path must be member names joined by dots, at most {MAX_PATH} characters, not {path[:64]!r}",
            field=f"payload.{path[:64]}",
        )
    return PayloadCriterion(steps, text, is_json)


def _value_at(value: object, path: tuple[str, ...]) -> object:
    """Follow a path; raises LookupError where it leads nowhere."""
    for step in path:
        if isinstance(value, dict):
            value = value[step]
        elif isinstance(value, list) and _is_place(step):
            value = value[int(step)]
        else:
            raise LookupError(step)
    return value


def _is_place(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) <= 6  # so many items no payload has
