"""The type board of the Redis backend: what processes say of their job types, in the first partition.

Named by its digest, a body is sent to the store when it is said and to a reader once: what is read every few seconds
is digests and instants.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from gotaskq.backend import TypeNotice
from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.partitions import chunks, parcels
from gotaskq.backends.redis.scripts import Script
from gotaskq.store_limits import StoreLimits

PARTITION: Final = 0  # every store has it
BODIES: Final = 64  # in one call
CALL_BYTES: Final = 1 << 20
DIGEST_BYTES: Final = 12


class RedisTypeBoard:
    """One process's way to the board."""

    def __init__(self, connection: Connection, limits: StoreLimits) -> None:
        self._connection = connection
        self._limits = limits
        self._known: dict[bytes, bytes] = {}  # bodies by digest

    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Say this; forget what is old, and what is too much."""
        places, weights = range(len(bodies)), [len(body) for body in bodies]
        for some in parcels(places, weights, size=BODIES, most_bytes=CALL_BYTES):
            named = [part for place in some for part in (_digest(bodies[place]), bodies[place])]
            limits = (self._limits.type_ttl_ms, self._limits.max_types)
            await self._connection.run(Script.TYPES_PUBLISH, PARTITION, *limits, *named)

    async def read(self) -> list[TypeNotice]:
        """Return what is remembered; the bodies that are new here are asked for in calls of their own."""
        ages_ms, _ = await self._ask([])
        known = {digest: body for digest, body in self._known.items() if digest in ages_ms}
        for wanted in chunks([digest for digest in ages_ms if digest not in known], BODIES):
            _, bodies = await self._ask(wanted)
            known.update((digest, body) for digest, body in zip(wanted, bodies, strict=True) if body is not None)
        self._known = known
        return [TypeNotice(known[digest], age_ms) for digest, age_ms in ages_ms.items() if digest in known]

    async def _ask(self, wanted: Sequence[bytes]) -> tuple[dict[bytes, int], list[bytes | None]]:
        """Return how long ago each digest was said, and the bodies of those that are wanted."""
        reply = await self._connection.run(Script.TYPES_READ, PARTITION, self._limits.type_ttl_ms, *wanted)
        digests_and_ages = iter(reply[0])
        return {digest: int(age_ms) for digest, age_ms in zip(digests_and_ages, digests_and_ages, strict=True)}, reply[
            1
        ]


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).hexdigest().encode()
