"""What all processes of a store must agree on: its queues, its partitions, and that it is still the store they knew.

Read about once a second, so that a queue made or paused by one process is known to all.
"""

import logging
from collections.abc import Callable
from random import Random
from typing import Final

from gotaskq.backends.redis.connection import PATIENCE_S, Connection, StoreFaultError
from gotaskq.backends.redis.keys import SCHEMA, Keys
from gotaskq.job import DEFAULT_QUEUE

PAUSED: Final = b"1"  # else 0, and behind it the mark of whoever registered the queue

LOG_PARTITION: Final = 0  # keeps the log of happenings: every store has it

logger = logging.getLogger(__name__)


class Registry:
    """The queues by name, and whether each is paused; how many partitions have jobs; the epoch of each."""

    def __init__(self, connection: Connection, keys: Keys, *, partitions: int, rng: Random) -> None:
        self._connection = connection
        self._keys = keys
        self._rng = rng
        self._epochs: dict[int, bytes] = {}
        self.paused: dict[str, bool] = {}
        self.partitions = partitions
        self.log = b""  # the name of the log of happenings that began last, if any ever did
        self.hear_loss: Callable[[int], None] = lambda partition: None

    async def open(self) -> None:
        """Join the store, or make it; raises StoreFaultError for one that a later version wrote."""
        # A store that is there is only read: one that is full refuses writes, and wants workers more than ever.
        schema = await self._connection.command("HGET", self._keys.store, "schema")
        if schema is None:
            await self._connection.command("HSETNX", self._keys.store, "schema", SCHEMA)
            schema = await self._connection.command("HGET", self._keys.store, "schema")
        if int(schema) > SCHEMA:
            raise StoreFaultError(f"the store has layout {int(schema)}, newer than ours ({SCHEMA}); upgrade GoTaskQ")
        if not await self.knows(DEFAULT_QUEUE):
            await self.add(DEFAULT_QUEUE)
        await self.refresh()

    async def add(self, name: str) -> bool:
        """Register a queue; False when it was there."""
        # The mark tells our own work from another's, should the first reply be lost and the call be sent again.
        mark = f"0 {self._rng.getrandbits(96):024x}"
        is_new = bool(await self._connection.command("HSETNX", self._keys.queues, name, mark))
        if not is_new:
            is_new = await self._connection.command("HGET", self._keys.queues, name) == mark.encode()
        self.paused.setdefault(name, False)
        return is_new

    async def remove(self, name: str) -> None:
        """Register a queue no more; other processes hear of it within a second."""
        await self._connection.command("HDEL", self._keys.queues, name)
        self.paused.pop(name, None)

    async def set_paused(self, name: str, *, paused: bool) -> None:
        """Note that a queue, which is there, is paused or not."""
        await self._connection.command("HSET", self._keys.queues, name, int(paused))
        self.paused[name] = paused

    async def knows(self, name: str, *, patience_s: float = PATIENCE_S) -> bool:
        """Say whether a queue is registered, here or by another process."""
        if name not in self.paused:
            found = await self._connection.command("HGET", self._keys.queues, name, patience_s=patience_s)
            if found is None:
                return False
            self.paused[name] = found == PAUSED
        return True

    async def refresh(self) -> None:
        """Read what others may have changed, and notice when the store has lost its memory."""
        await self._agree_on_partitions()
        for partition in range(self.partitions):
            await self._check_epoch(partition)
        found = pairs(await self._connection.command("HGETALL", self._keys.queues))
        self.paused = {name.decode(): paused == PAUSED for name, paused in found.items()}

    async def _agree_on_partitions(self) -> None:
        """Serve as many partitions as any process ever had: jobs may still lie there."""
        agreed = int(await self._connection.command("HGET", self._keys.store, "partitions") or 0)
        if self.partitions > agreed:
            await self._connection.command("HSET", self._keys.store, "partitions", self.partitions)
        self.partitions = max(self.partitions, agreed)

    async def _check_epoch(self, partition: int) -> None:
        """Look for the mark that was left in a partition; another, or none, means that its jobs are gone."""
        meta = self._keys.meta(partition)
        # One call, not two: who never watches must not pay for those who do.
        found, log = await self._connection.command("HMGET", meta, "epoch", "log")
        if partition == LOG_PARTITION:
            self.log = log or b""
        if found is None:
            await self._connection.command("HSETNX", meta, "epoch", f"{self._rng.getrandbits(96):024x}")
            found = await self._connection.command("HGET", meta, "epoch")
        known = self._epochs.get(partition)
        self._epochs[partition] = found
        if known is not None and found != known:
            await self._begin_anew(partition)

    async def _begin_anew(self, partition: int) -> None:
        """Say that jobs are lost, and register the queues again that the store has forgotten."""
        logger.error("the job store has lost its jobs: it is not the one we knew", extra={"partition": partition})
        self.hear_loss(partition)
        await self._connection.command("HSETNX", self._keys.store, "schema", SCHEMA)
        for name, is_paused in self.paused.items():
            await self._connection.command("HSETNX", self._keys.queues, name, int(is_paused))


def pairs(reply: object) -> dict[bytes, bytes]:
    """Return what HGETALL replied, in either protocol."""
    if isinstance(reply, dict):
        return reply
    names_and_values = iter(reply if isinstance(reply, list) else [])
    return dict(zip(names_and_values, names_and_values, strict=True))
