"""The slot: its attempt is stopped once, finds its own context, and leaves nothing to the next one."""

import threading
from collections.abc import Callable

import pytest
from tests.unit.engine.jobs import running
from tests.unit.engine.slots import context_of, presses, slot_with

from gotaskq.context import Context, TakesReports
from gotaskq.engine.slot import Slot
from gotaskq.job import Job
from gotaskq.outcome import Cancelled, Interrupted

JOB = running()
NEXT = running(attempt=2)


def contexts_made_while(happening: Callable[[], None]) -> Callable[..., Context]:
    """Return a maker of contexts during whose work something happens, as another thread can have it."""

    def make(job: Job, reports: TakesReports, *, is_cancelled: bool) -> Context:
        if job is JOB:
            happening()
        return Context(job, reports, is_cancelled=is_cancelled)

    return make


def test_a_stop_counts_once() -> None:
    slot = slot_with(JOB)

    slot.stop(Interrupted())
    slot.stop(Cancelled())

    assert slot.stopped_by == Interrupted()
    assert presses(slot) == 1


def test_pressing_again_cancels_again() -> None:
    slot = slot_with(JOB)

    slot.stop(Cancelled())
    slot.press()

    assert presses(slot) == 2


def test_an_idle_slot_is_not_pressed() -> None:
    slot = slot_with(None)

    slot.stop(Cancelled())
    slot.press()

    assert (presses(slot), slot.stopped_by) == (0, None)


def test_the_code_of_an_attempt_finds_one_context() -> None:
    slot = slot_with(JOB)

    context = context_of(slot, JOB)

    assert context is not None
    assert context.job is JOB
    assert context_of(slot, JOB) is context


def test_code_that_outlives_its_attempt_finds_none() -> None:
    slot = slot_with(JOB)
    context_of(slot, JOB)

    slot.end_attempt()
    while_idle = context_of(slot, JOB)
    slot.job = NEXT

    assert while_idle is None
    assert context_of(slot, JOB) is None
    assert context_of(slot, NEXT) is not None


def test_code_of_no_attempt_finds_none() -> None:
    assert slot_with(JOB).context() is None


@pytest.mark.parametrize("has_asked_before", [True, False])
def test_the_context_says_that_the_attempt_is_to_end(has_asked_before: bool) -> None:
    slot = slot_with(JOB)
    if has_asked_before:
        context_of(slot, JOB)

    slot.stop(Cancelled())
    context = context_of(slot, JOB)

    assert context is not None
    assert not slot.has_heeded
    assert context.is_cancelled
    assert slot.has_heeded


def test_an_attempt_that_never_asks_has_not_heeded() -> None:
    slot = slot_with(JOB)

    slot.stop(Cancelled())

    assert not slot.has_heeded


def test_a_thread_that_is_late_leaves_its_context_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    slot = slot_with(JOB)

    def go_on() -> None:
        slot.end_attempt()
        slot.job = NEXT

    monkeypatch.setattr("gotaskq.engine.slot.Context", contexts_made_while(go_on))
    late = context_of(slot, JOB)
    slot.stop(Cancelled())
    following = context_of(slot, NEXT)

    assert late is not None
    assert not late.is_cancelled
    assert following is not None
    assert (following.job, following.is_cancelled) == (NEXT, True)


def test_what_a_late_thread_has_seen_is_not_what_the_next_attempt_has_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    slot = slot_with(JOB)

    def go_on() -> None:
        slot.end_attempt()
        slot.job = NEXT

    monkeypatch.setattr("gotaskq.engine.slot.Context", contexts_made_while(go_on))
    late = context_of(slot, JOB)
    assert late is not None
    late.ask_to_end()

    assert late.is_cancelled
    assert not slot.has_heeded


def test_a_stop_while_a_thread_makes_the_context_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    slot = slot_with(JOB)
    stopping = threading.Thread(target=slot.stop, args=(Cancelled(),))

    def stop_meanwhile() -> None:
        stopping.start()
        while slot.stopped_by is None:
            pass

    monkeypatch.setattr("gotaskq.engine.slot.Context", contexts_made_while(stop_meanwhile))
    context = context_of(slot, JOB)
    stopping.join()

    assert context is not None
    assert context.is_cancelled
    assert presses(slot) == 1


def test_an_attempt_leaves_nothing_to_the_next() -> None:
    slot = slot_with(JOB)
    vars_of_an_attempt = ("job", "act_at_s", "pressed", "_context")
    for name, left_behind in zip(vars_of_an_attempt, (JOB, 30.0, 2, context_of(slot, JOB)), strict=True):
        setattr(slot, name, left_behind)

    slot.end_attempt()

    assert [getattr(slot, name) for name in vars_of_an_attempt] == [None, None, 0, None]


def test_a_closed_slot_is_told_from_a_stopped_attempt() -> None:
    slot: Slot = slot_with(JOB)

    slot.close()

    assert (slot.is_closing, presses(slot), slot.stopped_by) == (True, 1, None)
