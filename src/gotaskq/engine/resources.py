"""Resources: what a worker opens at its start, hands to its handlers by type, and closes after its drain.

Defined with `@app.resource`; a handler gets one by a parameter that is annotated with its type.
Invariant: what was opened is closed, the last one first, however the worker ends.
"""

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextvars import Context as Variables
from contextvars import ContextVar, copy_context
from types import NoneType
from typing import Any, Final, TypeAlias, get_args, get_type_hints

from gotaskq.errors import RegistrationError

ResourceMaker: TypeAlias = Callable[..., AsyncIterator[Any]]

OPEN: Final[ContextVar[Mapping[type, object]]] = ContextVar("gotaskq-open-resources")


class Resources:
    """The resources of one app, in the order they were defined."""

    def __init__(self) -> None:
        self._makers: list[tuple[type, ResourceMaker]] = []

    def add(self, maker: ResourceMaker) -> None:
        """Take an `async def` that yields once; what it is annotated to yield is its type. Raises RegistrationError."""
        shown = _shown(maker)
        if not inspect.isasyncgenfunction(maker):
            raise RegistrationError(f"{shown} is no resource: write an `async def` that yields it once")
        kind = next(iter(get_args(_hints(maker).get("return"))), "unsaid")
        kind = NoneType if kind is None else kind
        if not isinstance(kind, type):
            raise RegistrationError(f"{shown} does not say what it yields: annotate it, `-> AsyncIterator[Database]`")
        if kind is not NoneType and any(known is kind for known, _ in self._makers):
            raise RegistrationError(f"{shown} yields a {kind.__name__}, and so does another resource")
        self._makers.append((kind, maker))

    @contextlib.asynccontextmanager
    async def opened(
        self, handlers: Iterable[Callable[..., Any]], given: Mapping[type, object] | None = None
    ) -> AsyncIterator[Variables]:
        """Open all but what is given, and yield the context in which handlers find them.

        Raises RegistrationError where one of these handlers wants what is not there.
        """
        found: dict[type, object] = dict(given or {})
        kinds = {*found, *(kind for kind, _ in self._makers)}
        for wanting in handlers:
            _refuse_missing(wanting, kinds)
        async with contextlib.AsyncExitStack() as stack:
            for kind, maker in self._makers:
                if kind not in found:
                    _refuse_missing(maker, {*found}, skipped=0)
                    arguments = {name: found[wanted] for name, wanted in _wanted(maker, skipped=0).items()}
                    opening = maker(**arguments)
                    resource = await anext(opening)
                    stack.push_async_callback(_close, opening, maker)
                    if kind is not NoneType:
                        found[kind] = resource
            variables = copy_context()
            variables.run(OPEN.set, found)
            yield variables


async def _close(opening: AsyncIterator[Any], maker: ResourceMaker) -> None:
    """Let a resource go on behind its `yield`: by resuming it, so that it needs no `finally` to be closed."""
    async for _ in opening:
        raise RegistrationError(f"{_shown(maker)} yielded twice; a resource is what it yields once")


def injected(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return the handler as a function of its first argument alone; the others are the resources they are named by."""
    if not _extra(handler, skipped=1):
        return handler

    def call(first: object) -> Any:
        found = OPEN.get({})
        return handler(first, **{name: found[kind] for name, kind in _wanted(handler, skipped=1).items()})

    return call


def wants_resources(handler: Callable[..., Any]) -> bool:
    """Whether a handler has parameters that resources are for."""
    return bool(_extra(handler, skipped=1))


def _refuse_missing(wanting: Callable[..., Any], kinds: set[type], *, skipped: int = 1) -> None:
    for name, kind in _wanted(wanting, skipped=skipped).items():
        if kind not in kinds:
            known = ", ".join(sorted(known.__name__ for known in kinds - {NoneType})) or "none"
            raise RegistrationError(
                f"{_shown(wanting)} wants {name}: {getattr(kind, '__name__', kind)}, and no resource yields that; "
                f"there are: {known}. Define one with @app.resource"
            )


def _wanted(function: Callable[..., Any], *, skipped: int) -> dict[str, type]:
    extra = _extra(function, skipped=skipped)
    hints = _hints(function) if extra else {}
    return {name: hints.get(name, NoneType) for name in extra}


def _extra(function: Callable[..., Any], *, skipped: int) -> list[str]:
    """Return the parameters without a default behind the first `skipped`."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[skipped:]
    except (TypeError, ValueError):  # a builtin without a signature
        return []
    named = (
        parameter for parameter in parameters if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )
    return [parameter.name for parameter in named if parameter.default is parameter.empty]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
    except NameError as error:
        raise RegistrationError(f"the annotations of {_shown(function)} cannot be read: {error}") from error


def _shown(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", repr(function)))
