"""Lifespans: what the program sets up for a whole process while its app is open, whether that runs jobs or not.

Defined with `@app.lifespan`, entered by `Life` once the store is open, left before it is closed.
Invariant: what was set up is taken down, the last one first, however the app is closed.
"""

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

from gotaskq.engine.resources import enter, refuse_no_generator, shown_name
from gotaskq.errors import RegistrationError

Lifespan: TypeAlias = Callable[[], AsyncIterator[None]]


class Lifespans:
    """The lifespans of one app, in the order they were defined."""

    def __init__(self) -> None:
        self._lifespans: list[Lifespan] = []
        self._entered = contextlib.AsyncExitStack()

    def add(self, lifespan: Lifespan) -> None:
        """Take an `async def` without parameters that yields once; raises RegistrationError for what is none."""
        refuse_no_generator(lifespan, "lifespan")
        if inspect.signature(lifespan).parameters:
            raise RegistrationError(f"lifespan {shown_name(lifespan)} has parameters, and nobody to give them")
        self._lifespans.append(lifespan)

    async def enter(self) -> None:
        """Set all up, or none: raises StartError, once what was set up before is taken down again."""
        async with contextlib.AsyncExitStack() as stack:
            for lifespan in self._lifespans:
                await enter(stack, lifespan, "lifespan", {})
            self._entered = stack.pop_all()

    async def leave(self) -> None:
        """Take all down; raises what one of them raised, once the others are down too."""
        await self._entered.aclose()
