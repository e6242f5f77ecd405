"""The type board of the memory backend: what was said of job types, and when last."""

from collections.abc import Callable, Sequence

from gotaskq.backend import TypeNotice
from gotaskq.store_limits import StoreLimits


class MemoryTypeBoard:
    """Remembers in the order in which things were said last."""

    def __init__(self, limits: StoreLimits, *, now_ms: Callable[[], int]) -> None:
        self._limits = limits
        self._now_ms = now_ms
        self._said_at_ms: dict[bytes, int] = {}

    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Say this; forget what is old, and what is too much."""
        for body in bodies:
            self._said_at_ms.pop(body, None)
            self._said_at_ms[body] = self._now_ms()
        for body in [*self._said_at_ms][: -self._limits.max_types]:
            del self._said_at_ms[body]

    async def read(self) -> list[TypeNotice]:
        """Return what is remembered."""
        now_ms, ttl_ms = self._now_ms(), self._limits.type_ttl_ms
        notices = [TypeNotice(body, now_ms - said_at_ms) for body, said_at_ms in self._said_at_ms.items()]
        return [notice for notice in notices if notice.age_ms < ttl_ms]
