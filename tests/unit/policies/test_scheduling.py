"""Queue selectors: every queue has its turn, and none has to wait for ever."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gotaskq.policies.scheduling import ALL, RoundRobin, StrictPriority, Turn, Weighted

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


# ---- strict priority


def test_strict_priority_exhausts_the_first_queue_before_the_next() -> None:
    turns = list(StrictPriority("urgent", "mail").order(("a", "mail", "urgent", "z")))

    assert turns == [Turn("urgent", ALL), Turn("mail", ALL), Turn("a", 1), Turn("z", 1)]


def test_strict_priority_does_not_care_what_was_served() -> None:
    selector = StrictPriority("b", "a")
    before = list(selector.order(("a", "b")))

    selector.served("b")

    assert list(selector.order(("a", "b"))) == before


@given(named=queue_names, queues=queue_names)
def test_strict_priority_gives_every_queue_one_turn(named: tuple[str, ...], queues: tuple[str, ...]) -> None:
    assert sorted(turn.queue for turn in StrictPriority(*named).order(queues)) == sorted(queues)


# ---- weighted


def firsts(selector: Weighted, queues: tuple[str, ...], count: int) -> str:
    """Return who begins in so many reservations that find one free slot and jobs in every queue."""
    found = ""
    for _ in range(count):
        found += selector.order(queues)[0].queue
        selector.served(found[-1])
    return found


def test_a_turn_is_as_long_as_the_weight() -> None:
    assert list(Weighted({"b": 5}).order(("a", "b"))) == [Turn("b", 5), Turn("a", 1)]


def test_heavy_queues_begin_more_often_and_never_all_in_a_row() -> None:
    assert firsts(Weighted({"a": 5, "b": 1, "c": 1}), ("a", "b", "c"), 7) == "aabacaa"


def test_equal_weights_are_round_robin() -> None:
    assert firsts(Weighted({}), ("a", "b", "c"), 6) == "abcabc"


def test_where_nothing_was_served_the_weighted_order_stays() -> None:
    selector = Weighted({"a": 2})
    queues = ("a", "b")
    selector.order(queues)
    selector.served("a")

    assert [selector.order(queues)[0].queue for _ in range(3)] == ["b"] * 3


def test_an_empty_queue_does_not_save_up_its_turns() -> None:
    selector = Weighted({"a": 3, "b": 1})
    queues = ("a", "b")

    for _ in range(1_000):  # only `b` has jobs
        selector.order(queues)
        selector.served("b")

    assert firsts(selector, queues, 8).count("b") == 2


def test_weights_of_unknown_queues_wait_for_them() -> None:
    selector = Weighted({"later": 3})
    selector.served("later")
    assert list(selector.order(())) == []
    selector.order(("a",))

    assert firsts(selector, ("a", "later"), 4).count("later") == 3


weights = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), max_size=8)


@settings(max_examples=40)
@given(weights=weights, rounds=st.lists(st.tuples(queue_names, st.integers(0, 7)), min_size=1, max_size=20))
def test_every_weighted_order_has_each_queue_once(
    weights: dict[str, int], rounds: list[tuple[tuple[str, ...], int]]
) -> None:
    selector = Weighted(weights)

    for queues, place in rounds:
        turns = list(selector.order(queues))

        assert sorted(turn.queue for turn in turns) == sorted(queues)
        assert all(turn.take == weights.get(turn.queue, 1) for turn in turns)
        selector.served(turns[place % len(turns)].queue)


@settings(max_examples=40)
@given(weights=weights, queues=queue_names, start=st.integers(0, 50))
def test_each_queue_begins_exactly_as_often_as_its_weight(
    weights: dict[str, int], queues: tuple[str, ...], start: int
) -> None:
    selector = Weighted(weights)
    shares = {queue: weights.get(queue, 1) for queue in queues}
    firsts(selector, queues, start * sum(shares.values()))

    begun = firsts(selector, queues, sum(shares.values()))

    assert {queue: begun.count(queue) for queue in queues} == shares


@settings(max_examples=30)
@given(weights=weights, queues=queue_names, waiting=st.data())
def test_no_queue_starves_beside_heavier_ones(
    weights: dict[str, int], queues: tuple[str, ...], waiting: st.DataObject
) -> None:
    selector = Weighted(weights)
    patient = waiting.draw(st.sampled_from(queues))
    served = []

    for _ in range(sum(weights.get(queue, 1) for queue in queues)):
        busy = waiting.draw(st.sets(st.sampled_from(queues))) | {patient}
        first = next(turn.queue for turn in selector.order(queues) if turn.queue in busy)
        selector.served(first)
        served.append(first)

    assert patient in served
