"""Wake-ups: who waits for work hears of it at once, and so does who runs a job that somebody cancels.

A hint and never the truth: a message that is lost costs a worker that polls no more than its pause. Scripts publish the
name of a queue when it gets its first ready job, or one that is due earlier than all others, "!" with the id of a
running job whose end is asked for, and "~" with the name of a log of happenings that begins.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterator
from random import Random
from typing import Any, Final

from gotaskq.backends.redis.connection import FAILURES, Connection
from gotaskq.backends.redis.wire import Wire
from gotaskq.job import JobId

PING_EVERY_S: Final = 5.0  # a connection that is only half there does not say so by itself
FIRST_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 2.0
CANCEL: Final = b"!"  # before an id: no queue's name begins so
WATCH: Final = b"~"  # before the name of a log

logger = logging.getLogger(__name__)


class WakeUps:
    """Listens to the store on a wire of its own, and wakes those who wait for a queue."""

    def __init__(self, connection: Connection, channel: str, *, rng: Random) -> None:
        self._connection = connection
        self._channel = channel
        self._rng = rng
        self._waiting: dict[asyncio.Future[None], frozenset[str]] = {}
        self._cancel_hearers: list[Callable[[JobId], None]] = []
        self.hear_log: Callable[[bytes], None] = lambda log: None
        self.is_listening = asyncio.Event()

    async def listen(self) -> None:
        """Listen until cancelled; connect again, after a pause, whenever the connection is lost."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                wire = await self._connection.another_wire(self._channel)
                pause_s = FIRST_PAUSE_S
                await self._listen_on(wire)
            except FAILURES as error:
                logger.debug("wake-ups are not heard", extra={"error": type(error).__name__})
            self.is_listening.clear()
            await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1.5))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _listen_on(self, wire: Wire) -> None:
        now_s = asyncio.get_running_loop().time
        try:
            wire.overhear(self._hear)
            wire.write(("SUBSCRIBE", self._channel))
            while not await wire.is_lost_within(PING_EVERY_S):
                if now_s() - wire.heard_s > 2 * PING_EVERY_S:
                    return
                wire.write(("PING",))
        finally:
            wire.give_up()
            await wire.close()

    def _hear(self, said: Any) -> None:
        match said:
            case [b"message", _, bytes(text)]:
                self._hear_message(text)
            case [b"subscribe", *_]:
                self.is_listening.set()
                self.wake_all()  # what was published while nobody listened
            case Exception():
                logger.warning("wake-ups are refused", extra={"error": str(said)})
            case _:
                pass  # the answer to a PING

    def _hear_message(self, text: bytes) -> None:
        if text.startswith(WATCH):
            self.hear_log(text.removeprefix(WATCH))
            return
        if not text.startswith(CANCEL):
            self.wake(text.decode())
            return
        job_id = JobId(int(text.removeprefix(CANCEL)))
        for hear in self._cancel_hearers:
            hear(job_id)

    def hear_cancels(self, hear: Callable[[JobId], None]) -> None:
        """Let `hear` get the id of each running job whose end is asked for, from now on."""
        self._cancel_hearers.append(hear)

    def wake(self, queue: str) -> None:
        """Wake those who wait for this queue."""
        if not self._waiting:
            return
        for woken, queues in self._waiting.items():
            if queue in queues and not woken.done():
                woken.set_result(None)

    def wake_all(self) -> None:
        """Wake everybody."""
        for woken in self._waiting:
            if not woken.done():
                woken.set_result(None)

    @contextlib.contextmanager
    def waiting(self, queues: Collection[str]) -> Iterator[asyncio.Future[None]]:
        """Give a future that is done when one of these queues may have work."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = frozenset(queues)
        try:
            yield woken
        finally:
            del self._waiting[woken]
