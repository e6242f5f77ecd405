"""Queue selectors: every queue has its turn, and none has to wait for ever."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gotaskq.policies.scheduling import RoundRobin, Turn

queue_names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True).map(sorted).map(tuple)


def order(selector: RoundRobin, *queues: str) -> str:
    turns = selector.order(queues)
    assert {turn.take for turn in turns} <= {1}
    return "".join(turn.queue for turn in turns)


def test_each_queue_has_a_turn_of_one_job() -> None:
    assert list(RoundRobin().order(("a", "b"))) == [Turn("a", 1), Turn("b", 1)]


def test_where_there_are_no_queues_there_are_no_turns() -> None:
    selector = RoundRobin()

    assert list(selector.order(())) == []
    selector.served("a")
    assert order(selector, "a", "b") == "ab"
    assert list(selector.order(())) == []


def test_the_next_order_begins_behind_the_last_queue_served() -> None:
    selector = RoundRobin()
    queues = ("a", "b", "c")
    orders = [order(selector, *queues)]

    for served in ("a", "b", "c", "b"):
        selector.served(served)
        orders.append(order(selector, *queues))

    assert orders == ["abc", "bca", "cab", "abc", "cab"]


def test_where_nothing_was_served_the_order_stays() -> None:
    selector = RoundRobin()
    order(selector, "a", "b", "c")
    selector.served("a")

    assert [order(selector, "a", "b", "c") for _ in range(3)] == ["bca"] * 3


def test_an_unknown_queue_changes_nothing() -> None:
    selector = RoundRobin()
    order(selector, "a", "b")

    selector.served("z")

    assert order(selector, "a", "b") == "ab"


def test_equal_queues_in_another_tuple_change_nothing() -> None:
    selector = RoundRobin()
    order(selector, "a", "b", "c")
    selector.served("b")

    assert order(selector, *["a", "b", "c"]) == "cab"


def test_a_queue_added_elsewhere_does_not_disturb_the_round() -> None:
    selector = RoundRobin()
    order(selector, "b", "c")
    selector.served("b")

    assert order(selector, "a", "b", "c") == "cab"
    assert order(selector, "a", "b", "c", "d") == "cdab"


def test_a_queue_added_right_behind_the_last_one_served_is_next() -> None:
    selector = RoundRobin()
    order(selector, "a", "c")
    selector.served("a")

    assert order(selector, "a", "b", "c") == "bca"


def test_a_queue_added_behind_the_end_is_next_when_the_last_was_served() -> None:
    selector = RoundRobin()
    order(selector, "a", "b")
    selector.served("b")

    assert order(selector, "a", "b", "c") == "cab"


@settings(max_examples=40)
@given(rounds=st.lists(st.tuples(queue_names, st.integers(0, 7)), min_size=1, max_size=20))
def test_every_order_is_a_rotation_of_all_queues(rounds: list[tuple[tuple[str, ...], int]]) -> None:
    selector = RoundRobin()

    for queues, place in rounds:
        turns = [turn.queue for turn in selector.order(queues)]

        assert sorted(turns) == sorted(queues)
        assert "".join(turns) in "".join(queues) * 2
        selector.served(turns[place % len(turns)])


@settings(max_examples=30)
@given(queues=queue_names, waiting=st.data())
def test_no_queue_starves(queues: tuple[str, ...], waiting: st.DataObject) -> None:
    selector = RoundRobin()
    patient = waiting.draw(st.sampled_from(queues))
    served = []

    # One slot, and any of the other queues may have jobs or not: the patient one always has.
    for _ in queues:
        busy = waiting.draw(st.sets(st.sampled_from(queues))) | {patient}
        first = next(turn.queue for turn in selector.order(queues) if turn.queue in busy)
        selector.served(first)
        served.append(first)

    assert patient in served
