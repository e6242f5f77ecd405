"""Resources: what a worker opens at its start, hands to its handlers by type, and closes after its drain.

Defined with `@app.resource`; a handler or a task gets one by a parameter that is annotated with its type.
Invariant: what was opened is closed, the last one first, however the worker ends.
"""

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextvars import Context as Variables
from contextvars import copy_context
from types import NoneType
from typing import Any, TypeAlias, get_args, get_type_hints

from gotaskq.context import INJECTED, RESOURCES
from gotaskq.errors import GotaskqError, RegistrationError, StartError

ResourceMaker: TypeAlias = Callable[..., AsyncIterator[Any]]


class Resources:
    """The resources of one app, in the order they were defined."""

    def __init__(self) -> None:
        self._makers: list[tuple[type, ResourceMaker]] = []

    @property
    def kinds(self) -> list[type]:
        """What they yield; those that yield nothing are left out."""
        return [kind for kind, _ in self._makers if kind is not NoneType]

    def add(self, maker: ResourceMaker, *, in_payloads: Mapping[str, Iterable[Any]]) -> None:
        """Take an `async def` that yields once; what it is annotated to yield is its type.

        Raises RegistrationError, such as for a type that the payload of a job type, by name, has in it.
        """
        shown = shown_name(maker)
        refuse_no_generator(maker, "resource")
        kind = next(iter(get_args(_hints(maker).get("return"))), "unsaid")
        kind = NoneType if kind is None else kind
        if not isinstance(kind, type):
            raise RegistrationError(f"{shown} does not say what it yields: annotate it, `-> AsyncIterator[Database]`")
        if kind in self.kinds:
            raise RegistrationError(f"{shown} yields a {kind.__name__}, and so does another resource")
        for job_type, taken in in_payloads.items():
            if any(each is kind for each in taken):
                raise RegistrationError(
                    f"{shown} yields a {kind.__name__}, which task {job_type!r} takes from its payload; "
                    f"define the resource above the task to have it injected"
                )
        self._makers.append((kind, maker))

    @contextlib.asynccontextmanager
    async def opened(
        self, handlers: Iterable[Callable[..., Any]], given: Mapping[type, object] | None = None
    ) -> AsyncIterator[Variables]:
        """Open all but what is given, and yield the context in which handlers find them.

        Raises RegistrationError where one of these handlers wants what is not there, and StartError.
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
                    resource = await enter(stack, maker, "resource", arguments)
                    if kind is not NoneType:
                        found[kind] = resource
            variables = copy_context()
            variables.run(RESOURCES.set, found)
            yield variables


async def enter(
    stack: contextlib.AsyncExitStack, maker: ResourceMaker, what: str, arguments: Mapping[str, object]
) -> object:
    """Return what a maker yields, and let the stack close it; raises StartError for what it raises instead."""
    opening = maker(**arguments)
    shown = f"{what} {shown_name(maker)}"
    try:
        opened: object = await anext(opening)
    except StopAsyncIteration:
        raise StartError(shown, RegistrationError("it ended before it yielded")) from None
    except GotaskqError:
        raise  # it says all by itself
    except Exception as error:
        raise StartError(shown, error) from error
    stack.push_async_callback(_close, opening, shown)
    return opened


async def _close(opening: AsyncIterator[Any], shown: str) -> None:
    """Let a maker go on behind its `yield`: by resuming it, so that it needs no `finally` to close what it opened."""
    async for _ in opening:
        raise RegistrationError(f"{shown} yielded twice; it is what it yields once")


def refuse_no_generator(maker: ResourceMaker, what: str) -> None:
    """Raise RegistrationError for what is no `async def` with a `yield`."""
    if not inspect.isasyncgenfunction(maker):
        raise RegistrationError(f"{shown_name(maker)} is no {what}: write an `async def` that yields it once")


def injected(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return the handler as a function of its first argument alone; the others are the resources they are named by."""
    if not wants_resources(handler):
        return handler

    def call(first: object) -> Any:
        return handler(first, **given(_wanted(handler, skipped=1)))

    return call


def given(wanted: Mapping[str, type]) -> dict[str, Any]:
    """Return the open resources these parameters are for; raises GotaskqError where one is not open here."""
    found = RESOURCES.get({})
    missing = [kind.__name__ for kind in wanted.values() if kind not in found]
    if missing:
        raise GotaskqError(
            f"no {missing[0]} is open here: a worker opens its resources; in a test, `app.override()` opens them, and "
            f"`Trial(resources=…)` takes one"
        )
    return {name: found[kind] for name, kind in wanted.items()}


def wants_resources(handler: Callable[..., Any]) -> bool:
    """Whether a handler has parameters that resources are for."""
    return bool(_extra(handler, skipped=1))


def _refuse_missing(wanting: Callable[..., Any], kinds: set[type], *, skipped: int = 1) -> None:
    for name, kind in _wanted(wanting, skipped=skipped).items():
        if kind not in kinds:
            known = ", ".join(sorted(known.__name__ for known in kinds - {NoneType})) or "none"
            raise RegistrationError(
                f"{shown_name(wanting)} wants {name}: {getattr(kind, '__name__', kind)}, and no resource yields that; "
                f"there are: {known}. Define one with @app.resource"
            )


def _wanted(function: Callable[..., Any], *, skipped: int) -> dict[str, type]:
    extra = _extra(function, skipped=skipped)
    hints = _hints(function) if extra else {}
    return {name: hints.get(name, NoneType) for name in extra}


def _extra(function: Callable[..., Any], *, skipped: int) -> list[str]:
    """Return the parameters to inject: those behind the first `skipped` that have no default of their own."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[skipped:]
    except (TypeError, ValueError):  # a builtin without a signature
        return []
    named = (
        parameter for parameter in parameters if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )
    return [
        parameter.name for parameter in named if parameter.default is parameter.empty or parameter.default is INJECTED
    ]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
    except NameError as error:
        raise RegistrationError(f"the annotations of {shown_name(function)} cannot be read: {error}") from error


def shown_name(function: Callable[..., Any]) -> str:
    """Return a function's name, for messages."""
    return str(getattr(function, "__qualname__", repr(function)))
