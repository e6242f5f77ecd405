"""The notice boards of the memory backend: what was said under each key, and when last."""

from collections.abc import Callable, Mapping, Sequence

from gotaskq.board import BoardTerms, Notice, refuse_large


class MemoryBoard:
    """Remembers in the order in which things were said last."""

    def __init__(self, terms: BoardTerms, *, now_ms: Callable[[], int]) -> None:
        self._terms = terms
        self._now_ms = now_ms
        self._said: dict[str, tuple[bytes, int]] = {}  # and when

    async def post(self, bodies: Mapping[str, bytes]) -> None:
        """Say this; forget what is old, and what is too much."""
        refuse_large(bodies, self._terms)
        now_ms = self._now_ms()
        for key, body in bodies.items():
            self._said.pop(key, None)
            self._said[key] = (body, now_ms)
        kept = [notice.key for notice in self._notices()][-self._terms.max_notices :]
        self._said = {key: self._said[key] for key in kept}

    async def read(self) -> list[Notice]:
        """Return what is remembered."""
        return self._notices()

    async def remove(self, keys: Sequence[str]) -> None:
        """Forget these keys."""
        for key in keys:
            self._said.pop(key, None)

    def _notices(self) -> list[Notice]:
        now_ms, ttl_ms = self._now_ms(), self._terms.ttl_ms
        notices = [Notice(key, body, now_ms - said_at_ms) for key, (body, said_at_ms) in self._said.items()]
        return [notice for notice in notices if notice.age_ms < ttl_ms]
