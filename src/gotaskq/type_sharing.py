"""Sharing of types: workers say on the store's board which job types they run; whoever opens the store reads it.

Run by `Life`. Invariant: it is a help and no more: where the board cannot be reached, jobs are taken and run as before.
"""

import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from typing import Final

from gotaskq.board import Board, BoardTerms
from gotaskq.clock import Clock
from gotaskq.engine.admission import Admission
from gotaskq.errors import GotaskqError
from gotaskq.recurring import beside, repeat
from gotaskq.types_elsewhere import TypesElsewhere

READ_EVERY_S: Final = 5.0
SAY_EVERY_S: Final = 60.0  # far more often than a type is forgotten, or one version held to be gone
# A fleet that works by day has its types in the morning. All of it is read every few seconds, so it is bounded.
TYPES: Final = BoardTerms("types", ttl_ms=86_400_000, max_notices=1_000, max_bytes=131_072)
DIGEST_BYTES: Final = 12

logger = logging.getLogger(__name__)


class TypeSharing:
    """One open app's part in it; `notices` makes what is to be said, once it is known."""

    def __init__(
        self,
        board: Board,
        elsewhere: TypesElsewhere,
        admission: Admission,
        *,
        notices: Callable[[], Sequence[bytes]],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._board = board
        self._elsewhere = elsewhere
        self._admission = admission
        self._make_notices = notices
        self._own: Sequence[bytes] = ()
        self._clock = clock
        self._rng = rng

    async def read(self) -> None:
        """Learn what others run; what cannot be read now is read at the next round."""
        with contextlib.suppress(GotaskqError):  # said by the connection, once
            if self._elsewhere.hear(await self._board.read(), own=self._own):
                self._admission.learn(self._elsewhere.at_the_door())

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read now, and go on reading during the body."""
        await self.read()
        async with beside(repeat(self.read, every_s=READ_EVERY_S, clock=self._clock, rng=self._rng)):
            yield

    @contextlib.asynccontextmanager
    async def saying(self) -> AsyncIterator[None]:
        """Say what runs here, during the body."""
        self._own = self._own or _fitting(self._make_notices())
        async with beside(self._say_on()):
            yield

    async def _say_on(self) -> None:
        await self._say()
        await repeat(self._say, every_s=SAY_EVERY_S, clock=self._clock, rng=self._rng)

    async def _say(self) -> None:
        with contextlib.suppress(GotaskqError):  # as above
            await self._board.post({_key_of(body): body for body in self._own})


def _key_of(body: bytes) -> str:
    """Return what a notice is kept under: alike is the same, so a fleet of one version is one notice a type."""
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).hexdigest()


def _fitting(bodies: Sequence[bytes]) -> list[bytes]:
    fitting = [body for body in bodies if len(body) <= TYPES.max_bytes]
    if len(fitting) < len(bodies):
        logger.warning("types not told: their schemas are too large", extra={"types": len(bodies) - len(fitting)})
    return fitting
