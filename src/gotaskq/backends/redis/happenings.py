"""The log of happenings of the Redis backend: a stream in one partition, read by whoever watches.

That a log has begun is heard on the channel of wake-ups, and read with what is read every second anyway; so a process
whose store nobody watches makes no call for it.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from gotaskq.backends.redis.connection import FAILURES, Connection
from gotaskq.backends.redis.keys import Keys
from gotaskq.backends.redis.registry import LOG_PARTITION
from gotaskq.backends.redis.scripts import Script
from gotaskq.backends.redis.wire import Wire
from gotaskq.clock import Clock
from gotaskq.happening_log import KEPT, KEPT_FOR_S, Entry

NONCE_BITS: Final = 96
TELLERS: Final = 4_096  # places for nonces; two processes that share one may double a call whose reply was lost
LONGEST_WAIT_S: Final = 5.0  # of one call: a server that is gone does not say so by itself
ANSWER_WITHIN_S: Final = 5.0  # beyond that
FAILED_PAUSE_S: Final = 0.5


class RedisHappenings:
    """One process's way to the log."""

    def __init__(self, connection: Connection, keys: Keys, *, clock: Clock, rng: Random) -> None:
        self._connection = connection
        self._clock = clock
        self._rng = rng
        self._stream = keys.happenings(LOG_PARTITION)
        self._teller = f"t{rng.randrange(TELLERS)}"
        self._known = b""  # the log that was noticed last, whether it is kept still or not
        self._hear: Callable[[], None] = lambda: None
        self._wire: Wire | None = None
        self.is_watched = False

    def hear_watched(self, hear: Callable[[], None]) -> None:
        """Call `hear` each time somebody begins to watch; now, if somebody does."""
        self._hear = hear
        if self.is_watched:
            hear()

    async def notice(self, log: bytes) -> None:
        """Look whether a log that was not known is kept still: its name outlives it."""
        if log != self._known:
            known = await self._connection.command("EXISTS", self._stream)
            self._known = log
            if known:
                self.begin(log)

    def begin(self, log: bytes) -> None:
        """Hear that there is a log."""
        self._known = log
        if not self.is_watched:
            self.is_watched = True
            self._hear()

    async def watch(self) -> None:
        """Say that somebody watches."""
        self.begin(await self._run(Script.HAPPENINGS_WATCH, self._nonce(), round(KEPT_FOR_S * 1000)))

    async def tell(self, bodies: Sequence[bytes]) -> bool:
        """Keep these, if somebody watches."""
        known = self._known
        is_kept = bool(await self._run(Script.HAPPENINGS_TELL, self._teller, self._nonce(), KEPT, *bodies))
        if not is_kept and known == self._known:  # else another log has begun meanwhile
            self.is_watched = False
        return is_kept

    async def read(self, after: str | None, *, limit: int) -> list[Entry] | None:
        """Return what came behind an entry, which must be there still, or all."""
        more = after is not None  # the entry itself comes first
        rows = await self._connection.command("XRANGE", self._stream, after or "-", "+", "COUNT", limit + more)
        entries = [Entry(entry_id.decode(), fields[1]) for entry_id, fields in rows]
        if after is None:
            return entries
        return entries[1:] if entries and entries[0].id == after else None

    async def wait_for_more(self, after: str, *, timeout_s: float) -> None:
        """Return when there is something behind this id, or at the timeout, or a little after the connection failed."""
        wait_s = min(timeout_s, LONGEST_WAIT_S)
        call = ("XREAD", "COUNT", 1, "BLOCK", max(round(wait_s * 1000), 1), "STREAMS", self._stream, after)
        has_failed = False
        try:
            async with asyncio.timeout(wait_s + ANSWER_WITHIN_S):
                await (await self._own_wire()).call(call)
        except (TimeoutError, *FAILURES):
            has_failed = True
            self.close()
        except BaseException:  # nobody waits for the answer any more, and the next call must not wait behind it
            self.close()
            raise
        if has_failed:
            await self._clock.sleep(FAILED_PAUSE_S)

    async def _own_wire(self) -> Wire:
        """Return a wire on which a call may wait: on the others all would wait behind it."""
        if self._wire is None or not self._wire.is_open:
            self._wire = await self._connection.another_wire(self._stream)
        return self._wire

    def close(self) -> None:
        """Let go of the wire on which a call may wait."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.give_up()

    def _nonce(self) -> str:
        return f"{self._rng.getrandbits(NONCE_BITS):024x}"

    async def _run(self, script: Script, *arguments: str | bytes | int) -> Any:
        return await self._connection.run(script, LOG_PARTITION, *arguments)
