"""The notice boards of the Redis backend, in the first partition.

A reader is told keys, ages and digests, and asks for the bodies it does not have: what is read every few seconds and
seldom changes is sent once.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.partitions import chunks, parcels
from gotaskq.backends.redis.scripts import Script
from gotaskq.board import BoardTerms, Notice, refuse_large

PARTITION: Final = 0  # every store has it
BODIES: Final = 64  # in one call
CALL_BYTES: Final = 1 << 20
DIGEST_BYTES: Final = 12


class _Listed(NamedTuple):
    digest: bytes
    age_ms: int


class RedisBoard:
    """One process's way to a board."""

    def __init__(self, connection: Connection, terms: BoardTerms) -> None:
        self._connection = connection
        self._terms = terms
        self._known: dict[str, tuple[bytes, bytes]] = {}  # digest and body by key

    async def post(self, bodies: Mapping[str, bytes]) -> None:
        """Say this; forget what is old, and what is too much."""
        refuse_large(bodies, self._terms)
        keys, terms = [*bodies], self._terms
        weights = [len(bodies[key]) for key in keys]
        for some in parcels(range(len(keys)), weights, size=BODIES, most_bytes=CALL_BYTES):
            named = [word for place in some for word in _words(keys[place], bodies[keys[place]])]
            await self._run(Script.BOARD_POST, terms.ttl_ms, terms.max_notices, *named)

    async def read(self) -> list[Notice]:
        """Return what is remembered; the bodies that are new here are asked for in calls of their own."""
        listed, _ = await self._ask([])
        known = {
            key: (digest, body) for key, (digest, body) in self._known.items() if _digest_of(listed.get(key)) == digest
        }
        for wanted in chunks([key for key in listed if key not in known], BODIES):
            _, bodies = await self._ask(wanted)
            found = zip(wanted, bodies, strict=True)  # a body may be a later one than was listed
            known.update((key, (_digest(body), body)) for key, body in found if body is not None)
        self._known = known
        return [Notice(key, known[key][1], one.age_ms) for key, one in listed.items() if key in known]

    async def remove(self, keys: Sequence[str]) -> None:
        """Forget these keys."""
        for some in chunks(keys, BODIES):
            await self._run(Script.BOARD_REMOVE, *some)

    async def _ask(self, wanted: Sequence[str]) -> tuple[dict[str, _Listed], list[bytes | None]]:
        """Return what is listed, and the bodies of those that are wanted."""
        listed, digests, bodies = await self._run(Script.BOARD_READ, self._terms.ttl_ms, *wanted)
        keys_and_ages = iter(listed)
        ages = zip(keys_and_ages, keys_and_ages, strict=True)
        found = zip(ages, digests, strict=True)
        return {key.decode(): _Listed(digest or b"", int(age_ms)) for (key, age_ms), digest in found}, bodies

    async def _run(self, script: Script, *words: str | int | bytes) -> Any:
        return await self._connection.run(script, PARTITION, self._terms.name, *words)


def _words(key: str, body: bytes) -> tuple[str, bytes, bytes]:
    return key, _digest(body), body


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).hexdigest().encode()


def _digest_of(listed: _Listed | None) -> bytes | None:
    return None if listed is None else listed.digest
