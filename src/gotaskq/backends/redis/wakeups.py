"""Wake-ups: who waits for work hears of it at once.

A hint and never the truth: a message that is lost costs a worker that polls no more than its pause. Scripts publish the
name of a queue when it gets its first ready job, or one that is due earlier than all others.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterator
from random import Random
from typing import Any, Final

from gotaskq.backends.redis.connection import FAILURES
from gotaskq.backends.redis.topology import Client

LISTEN_S: Final = 5.0  # then the subscription is looked after
MAX_PAUSE_S: Final = 2.0

logger = logging.getLogger(__name__)


class WakeUps:
    """Listens to the store, and wakes those who wait for a queue."""

    def __init__(self, client: Client, channel: str, *, rng: Random) -> None:
        self._client = client
        self._channel = channel
        self._rng = rng
        self._waiting: dict[asyncio.Future[None], frozenset[str]] = {}
        self.is_listening = asyncio.Event()

    async def listen(self) -> None:
        """Listen until cancelled; connect again, after a pause, whenever the connection is lost."""
        pause_s = 0.05
        while True:
            try:
                async with contextlib.aclosing(self._client.pubsub()) as subscription:
                    await subscription.subscribe(self._channel)
                    pause_s = 0.05
                    await self._hear(subscription)
            except (*FAILURES, RuntimeError) as error:
                logger.debug("wake-ups are not heard", extra={"error": type(error).__name__})
            self.is_listening.clear()
            await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1.5))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _hear(self, subscription: Any) -> None:
        while True:
            message = await subscription.get_message(ignore_subscribe_messages=False, timeout=LISTEN_S)
            if message is None:
                await subscription.ping()  # a connection that is only half there does not say so by itself
            elif message["type"] == "subscribe":
                self.is_listening.set()
                self.wake_all()  # what was published while nobody listened
            elif message["type"] == "message":
                self.wake(message["data"].decode())

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()

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
