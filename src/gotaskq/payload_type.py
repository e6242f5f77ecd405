"""Payload types: one task's payloads, written from arguments, checked at the door, read back for the handler.

Made when a task is defined; used by `task`, and by admission to refuse what no handler could read.
Invariant: what `check` takes, `arguments` reads; what it refuses is named by its path in the request.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import asdict

from gotaskq.custom_types import from_json, to_json
from gotaskq.errors import (
    InvalidPayloadError,
    PayloadDecodeError,
    PayloadMismatchError,
    PayloadVersionError,
    RegistrationError,
)
from gotaskq.payload import decode_payload, encode_payload
from gotaskq.signature import VERSION_FIELD, VERSION_MEMBER, Signature, make_struct

# Makes a payload of an older version one of this version: the members without `$v`, and that version.
Upcast: TypeAlias = Callable[[dict[str, Any], int], dict[str, Any]]

ROOT: Final = "$.payload"
MAX_SHOWN: Final = 256  # of the words for what is wrong: they may quote what a stranger sent

_MEMBER = re.compile(r"Object (?:missing required|contains unknown) field `(.*)`", re.DOTALL)


class PayloadType:
    """The payloads of one task.

    A version above 1 travels in the payload, as the member `$v`; a payload without it is of version 1.
    """

    def __init__(self, signature: Signature, *, job_type: str, version: int = 1, upcast: Upcast | None = None) -> None:
        if type(version) is not int or version < 1:
            raise RegistrationError(f"version {version!r} of task {job_type!r} must be a whole number from 1")
        if (upcast is None) == (version > 1):
            raise RegistrationError(
                f"task {job_type!r} has version {version} and {'no' if upcast is None else 'an'} upcast; "
                f"from version 2 on, `upcast(payload, from_version)` says what becomes of older payloads"
            )
        self.job_type = job_type
        self.version = version
        self.struct = make_struct(signature, job_type=job_type, version=version)
        self._upcast = upcast or _as_it_is
        self._positional = signature.positional
        self._make = self.struct if version == 1 else partial(self.struct, **{VERSION_FIELD: version})
        self._decode = msgspec.json.Decoder(self.struct, dec_hook=from_json).decode

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """Return the payload for these arguments, defaults filled in.

        Raises TypeError as a call would, InvalidRequestError for a value without a JSON form.
        """
        # By hand: `inspect.Signature.bind` takes longer than all the rest (benchmarks/questions/typed_jobs.py).
        given = self._with_positional(args, kwargs) if args else kwargs
        try:
            payload = self._make(**given)
        except TypeError as error:
            raise TypeError(f"{self.job_type}: {error}") from None
        return encode_payload(payload, enc_hook=to_json)

    def check(self, payload_json: bytes) -> None:
        """Raise InvalidPayloadError unless a handler can read this payload."""
        try:
            self._decode(payload_json)
        except msgspec.DecodeError as error:
            self._check_other_version(payload_json, error)

    def arguments(self, payload_json: bytes) -> dict[str, Any]:
        """Return the arguments in a stored payload; raises PayloadMismatchError or PayloadVersionError."""
        try:
            payload = self._decode(payload_json)
        except msgspec.DecodeError as error:
            payload = self._read_other_version(payload_json, error)
        arguments = asdict(payload)
        arguments.pop(VERSION_FIELD, None)
        return arguments

    def _with_positional(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        if len(args) > len(self._positional):
            raise TypeError(f"{self.job_type}: takes {len(self._positional)} positional arguments, not {len(args)}")
        positional = dict(zip(self._positional, args, strict=False))
        if not positional.keys().isdisjoint(kwargs):
            [twice, *_] = positional.keys() & kwargs.keys()
            raise TypeError(f"{self.job_type}: got two values for argument {twice!r}")
        return {**positional, **kwargs}

    def _check_other_version(self, payload_json: bytes, refused: msgspec.DecodeError) -> None:
        try:
            self._read_other_version(payload_json, refused)
        except PayloadMismatchError as error:
            raise InvalidPayloadError(f"invalid payload: {error.reason}", field=f"{ROOT}{error.path}") from error
        except PayloadVersionError as error:
            raise InvalidPayloadError(f"invalid payload: {error}", field=f"{ROOT}.{VERSION_MEMBER}") from error

    def _read_other_version(self, payload_json: bytes, refused: msgspec.DecodeError) -> msgspec.Struct:
        """Read what is not as this version has it, or raise what is wrong with it."""
        payload = members_of(payload_json)
        if payload is None:
            raise self._mismatch(refused) from refused
        version = payload.pop(VERSION_MEMBER, 1)
        if type(version) is not int or version < 1:
            reason = f"{VERSION_MEMBER} must be a whole number from 1 to {self.version}"
            raise PayloadMismatchError(self.job_type, reason, path=f".{VERSION_MEMBER}")
        if version > self.version:
            raise PayloadVersionError(
                f"{self.job_type} of version {version} is newer than the code here, which knows {self.version}"
            )
        if version < self.version:
            payload = self._upcasted(payload, version)
        if self.version > 1:
            payload[VERSION_MEMBER] = self.version
        try:
            return self._decode(msgspec.json.encode(payload, enc_hook=to_json))
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
            raise self._mismatch(error) from error

    def _upcasted(self, payload: dict[str, Any], version: int) -> dict[str, Any]:
        try:
            return {**self._upcast(payload, version)}
        except Exception as error:  # the user's own, and the payload may be anything
            # By its name only: its words are for the log, and this may go to whoever posted the job.
            reason = f"upcast from version {version} raised {type(error).__name__}"
            raise PayloadMismatchError(self.job_type, reason) from error

    def _mismatch(self, error: Exception) -> PayloadMismatchError:
        reason, path = blame(error)
        return PayloadMismatchError(self.job_type, reason, path=path)


def members_of(payload_json: bytes) -> dict[str, Any] | None:
    """Return the members of an object; none of `null`, which is what stands for a payload that was not given."""
    try:
        payload = decode_payload(payload_json)
    except PayloadDecodeError:
        return None
    if payload is None:
        return {}
    return payload if isinstance(payload, dict) else None


def _as_it_is(payload: dict[str, Any], _: int) -> dict[str, Any]:
    return payload


def blame(error: Exception) -> tuple[str, str]:
    """Return what is wrong and where, from msgspec's "Expected `str`, got `int` - at `$.to`"."""
    reason, _, path = str(error).partition(" - at `$")
    path = path.removesuffix("`")
    member = _MEMBER.fullmatch(reason)
    if member is not None:
        path = f"{path}.{member[1]}"
    return reason[:MAX_SHOWN], path[:MAX_SHOWN]
