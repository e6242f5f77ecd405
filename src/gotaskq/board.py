"""Notice boards: what processes of one store tell each other beside the jobs, in short records that grow old.

An ability a backend may have (`KeepsBoards`); job types are one board. The store does not look into what is said.
Invariant: a board is bounded in number and age by its terms, and by the store's clock; it is a help and no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec


@dataclass(frozen=True, slots=True)
class BoardTerms:
    """What one board is called, and what it keeps; the same in every process of a store."""

    name: str  # lower-case letters
    ttl_ms: int  # what nobody has said for so long is forgotten
    max_notices: int  # beyond them goes what was said longest ago
    max_bytes: int  # of one notice


class Notice(msgspec.Struct, frozen=True):
    """What was said last under a key."""

    key: str
    body: bytes
    age_ms: int  # how long ago it was said last, by the store's clock


class Board(Protocol):
    """Where processes say something under keys, and read what others said."""

    async def post(self, bodies: Mapping[str, bytes]) -> None:
        """Say this under these keys, in the place of what was said before; it begins to be remembered anew.

        Raises ValueError for a body that is larger than the terms allow, and then says nothing.
        """
        ...

    async def read(self) -> list[Notice]:
        """Return what is remembered, in no order."""
        ...

    async def remove(self, keys: Sequence[str]) -> None:
        """Forget these keys now."""
        ...


@runtime_checkable
class KeepsBoards(Protocol):
    """What a backend offers beside the rest when programs share it: each then hears what the others say."""

    def board(self, terms: BoardTerms) -> Board:
        """Return this process's way to a board that all of its processes share."""
        ...


def refuse_large(bodies: Mapping[str, bytes], terms: BoardTerms) -> None:
    """Raise ValueError for a body a board does not take."""
    for key, body in bodies.items():
        if len(body) > terms.max_bytes:
            raise ValueError(
                f"{key!r} has {len(body)} bytes, and a notice on the board {terms.name!r} at most {terms.max_bytes}; "
                f"say less"
            )
