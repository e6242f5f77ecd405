"""The keys a job may come with, so that it is stored once.

An idempotency key names one request: sent again, it finds the job it made, whatever became of that. A unique key names
a piece of work: while a job with it waits or runs, no other is stored. Checked at the door, kept by the backends.
"""

import re
from enum import Enum
from typing import Final

import msgspec

from gotaskq.errors import InvalidRequestError

SCOPE_END: Final = "\n"  # between a principal and its key: no key holds one, so none reaches into another's scope
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
KEY_RULE: Final = "1 to 255 visible ASCII characters"


class FoundBy(Enum):
    """Which key found the job that was there."""

    UNIQUE_KEY = "unique_key"
    IDEMPOTENCY_KEY = "idempotency_key"


class Idempotency(msgspec.Struct, frozen=True, gc=False):
    """An idempotency key on its way into a store: digests of the key in its scope, and of what was asked for."""

    digest: str
    fingerprint: str


class Keys(msgspec.Struct, frozen=True, gc=False):
    """The keys of one job; only `unique` is kept with it.

    `found_by` is set on what an enqueue returns in the place of a new job.
    """

    unique: str = ""
    idempotency: Idempotency | None = None
    found_by: FoundBy | None = None


NO_KEYS: Final = Keys()


def checked_key(key: str, *, field: str) -> str:
    """Return a key that may be one; raises InvalidRequestError that names the member to blame."""
    if type(key) is not str or KEY.fullmatch(key) is None:
        raise InvalidRequestError(f"{field} must be {KEY_RULE}", field=field)
    return key


def in_scope(key: str, principal: str) -> str:
    """Return an idempotency key told apart from the same one of other principals; '' is nobody in particular."""
    return f"{principal}{SCOPE_END}{key}" if principal else key


def without_scope(key: str) -> str:
    """Return an idempotency key as its sender wrote it."""
    return key.rpartition(SCOPE_END)[2] if type(key) is str else key
