"""The contract of a log of happenings that all processes of a store share, kept for as long as somebody watches.

Beside the rest of `backend`: where a store has none, each process tells of its own. What a method means, to the letter,
is written as tests in `gotaskq.testing.conformance.happenings`.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

KEPT: Final = 10_000  # happenings to go on from after a broken connection; a shared log may keep a few more
KEPT_FOR_S: Final = 60.0  # after the last watcher has gone; then nothing is kept until the next one comes


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One thing in a log. The body is what a process told, into which the log does not look; b"" is a gap."""

    id: str  # of two entries of one log the later has the greater one, compared by its numbers
    body: bytes


class HappeningLog(Protocol):
    """What happens in all processes of a store, in one order; its errors are those of a Backend.

    There is a log only while somebody watches, and for KEPT_FOR_S after. It begins with a gap.
    """

    @property
    def is_watched(self) -> bool:
        """Whether somebody watches, as far as this process knows: at once if it opened later, else within a second.

        No I/O, for it is read at each event.
        """
        ...

    def hear_watched(self, hear: Callable[[], None]) -> None:
        """Call `hear`, and none that was given before, each time somebody begins to watch; now, if somebody does."""
        ...

    async def watch(self) -> None:
        """Say that somebody watches; it counts for KEPT_FOR_S, and begins a log where there is none."""
        ...

    async def tell(self, bodies: Sequence[bytes]) -> bool:
        """Keep these, all or none, the oldest beyond KEPT being forgotten; False: nobody watches, nothing is kept."""
        ...

    async def read(self, after: str | None, *, limit: int) -> list[Entry] | None:
        """Return what came behind the entry of this id, or all; None where that entry is forgotten, or never was."""
        ...

    async def wait_for_more(self, after: str, *, timeout_s: float) -> None:
        """Return when there is something behind this id, or at the timeout; a hint, it may return early.

        For one at a time.
        """
        ...


@runtime_checkable
class SharesHappenings(Protocol):
    """What a backend offers beside the rest when programs share it: each can then tell what happens in all."""

    @property
    def happenings(self) -> HappeningLog:
        """The log that all of its processes share."""
        ...
