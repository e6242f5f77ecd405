"""The child's seat: the code of one attempt finds its own context, and code that outlives it finds none."""

import socket
from collections.abc import Iterator
from contextvars import copy_context

import pytest
from tests.unit.engine.jobs import running

from gotaskq.executors.process.inside import ChildSeat, Line
from gotaskq.job import JobId
from gotaskq.testing.desk import PATIENCE_S


@pytest.fixture
def seat() -> Iterator[ChildSeat]:
    ours, theirs = socket.socketpair()
    line = Line(ours)
    with ours, theirs, line._received:
        yield ChildSeat(line)


def test_code_finds_the_context_of_its_own_attempt_while_that_runs(seat: ChildSeat) -> None:
    begun = copy_context()
    context = begun.run(seat.begin, running())

    found, found_outside = begun.run(seat.context), seat.context()
    seat.end()

    assert (found, found_outside) == (context, None)
    assert begun.run(seat.context) is None


def test_code_that_outlives_its_attempt_does_not_find_the_next_ones_context(seat: ChildSeat) -> None:
    outliving = copy_context()
    outliving.run(seat.begin, running(id=JobId(1)))
    seat.end()

    following = copy_context()
    context = following.run(seat.begin, running(id=JobId(2)))

    assert outliving.run(seat.context) is None
    assert following.run(seat.context) is context


def test_the_attempt_that_runs_is_asked_to_end_from_anywhere(seat: ChildSeat) -> None:
    seat.ask_to_end()  # none runs
    context = copy_context().run(seat.begin, running())

    seat.ask_to_end()

    assert context.wait_for_cancel(PATIENCE_S)
