"""The client that blocks and the one that is awaited are one interface, written twice."""

import inspect
from collections.abc import Callable

import pytest

from gotaskq.client import AsyncClient, Client
from gotaskq.client.asynchronous import AsyncDeadLetters, AsyncQueues
from gotaskq.client.synchronous import DeadLetters, Queues

PAIRS = pytest.mark.parametrize(
    ("blocking", "awaited"), [(Client, AsyncClient), (DeadLetters, AsyncDeadLetters), (Queues, AsyncQueues)]
)


def methods(part: type) -> dict[str, Callable[..., object]]:
    """Return what users call, by name; closing is called `aclose` where it is awaited, as libraries do."""
    found = {name: member for name, member in vars(part).items() if inspect.isfunction(member) and name[0] != "_"}
    return {name.replace("aclose", "close"): member for name, member in found.items()}


def parameters(method: Callable[..., object]) -> list[tuple[str, object, object]]:
    """Return what is taken; not of which type, since transports, for one, differ."""
    return [(taken.name, taken.kind, taken.default) for taken in inspect.signature(method).parameters.values()]


@PAIRS
def test_both_do_the_same_things(blocking: type, awaited: type) -> None:
    assert methods(blocking).keys() == methods(awaited).keys()
    assert parameters(blocking) == parameters(awaited)


@PAIRS
def test_both_take_the_same(blocking: type, awaited: type) -> None:
    taken = {name: parameters(method) for name, method in methods(awaited).items()}

    assert {name: parameters(method) for name, method in methods(blocking).items()} == taken


@PAIRS
def test_both_say_the_same_of_themselves(blocking: type, awaited: type) -> None:
    said = {name: inspect.getdoc(method) for name, method in methods(awaited).items()}

    assert {name: inspect.getdoc(method) for name, method in methods(blocking).items()} == said
