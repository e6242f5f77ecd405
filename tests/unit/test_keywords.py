"""A keyword nobody knows is refused by every call that takes its options as a TypedDict."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.engine.jobs import PENDING

from gotaskq import Settings, TaskQ
from gotaskq.engine.amending import amendment_of
from gotaskq.filters import query_of
from gotaskq.policies.ordering import Fifo


def _task(taskq: TaskQ) -> object:
    return taskq.task("a", max_retry=3)  # type: ignore[call-arg]


def _handler(taskq: TaskQ) -> object:
    return taskq.handler("a", max_retry=3)(print)  # type: ignore[call-arg]


def _filter(_: TaskQ) -> object:
    return query_of({"max_retry": 3}, now_ms=0)  # type: ignore[typeddict-unknown-key]


def _amendment(_: TaskQ) -> object:
    unknown: Any = {"max_retry": 3}
    return amendment_of(unknown, PENDING, ordering=Fifo(), check=None, now_ms=0)


@pytest.mark.parametrize("call", [_task, _handler, _filter, _amendment])
def test_it_names_the_keyword_and_those_that_are_known(call: Callable[[TaskQ], object]) -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'max_retry'; known are [a-z]"):
        call(TaskQ(settings=Settings()))
