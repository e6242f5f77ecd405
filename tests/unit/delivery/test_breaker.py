"""The breaker: what is down is left alone, and found again by one delivery at a time."""

import pytest

from gotaskq.delivery.breaker import MAX_DESTINATIONS, Breaker, BreakerRules, Breakers, Go, Hold

RULES = BreakerRules(max_failures=3, first_pause_s=5, max_pause_s=15, max_asked_s=3_600)
PLAIN, PROBE = Go(is_probe=False), Go(is_probe=True)


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(RULES)


def fail(breaker: Breaker, times: int, *, now_s: float = 0.0) -> None:
    for _ in range(times):
        breaker.failed(PLAIN, now_s=now_s)


def test_it_opens_after_so_many_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert breaker.admit(0) == PLAIN

    fail(breaker, 1)

    assert breaker.admit(1) == Hold(4)


def test_an_answer_between_failures_keeps_it_closed(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.answered()
    fail(breaker, 2)

    assert breaker.admit(0) == PLAIN


def test_after_the_pause_one_probes_and_the_others_wait(breaker: Breaker) -> None:
    fail(breaker, 3)

    assert breaker.admit(5) == PROBE
    assert breaker.admit(5) == Hold(5)


def test_a_probe_that_fails_doubles_the_pause_up_to_the_longest(breaker: Breaker) -> None:
    fail(breaker, 3)
    now_s, pauses = 5.0, []
    for _ in range(3):
        assert breaker.admit(now_s) == PROBE
        breaker.failed(PROBE, now_s=now_s)
        held = breaker.admit(now_s)
        assert isinstance(held, Hold)
        pauses.append(held.wait_s)
        now_s += held.wait_s

    assert pauses == [10, 15, 15]


def test_a_probe_that_is_answered_closes_it(breaker: Breaker) -> None:
    fail(breaker, 3)
    breaker.admit(5)

    breaker.answered()

    assert breaker.admit(5) == PLAIN
    assert breaker.is_at_rest(5)


def test_a_probe_that_tells_nothing_lets_another_probe(breaker: Breaker) -> None:
    fail(breaker, 3)
    breaker.admit(5)

    breaker.let_go(PROBE)

    assert breaker.admit(5) == PROBE


def test_what_was_under_way_when_it_opened_makes_the_pause_no_longer(breaker: Breaker) -> None:
    fail(breaker, 9)

    assert breaker.admit(0) == Hold(5)


def test_it_waits_as_asked_but_no_longer_than_an_hour(breaker: Breaker) -> None:
    assert breaker.asked_to_wait(PLAIN, 30, now_s=10) == 30
    assert breaker.admit(11) == Hold(29)
    assert breaker.asked_to_wait(PLAIN, 9_999, now_s=10) == 3_600


def test_a_probe_asked_to_wait_leaves_it_half_open(breaker: Breaker) -> None:
    fail(breaker, 3)
    breaker.admit(5)

    breaker.asked_to_wait(PROBE, 2, now_s=5)

    assert breaker.admit(6) == Hold(1)
    assert breaker.admit(7) == PROBE


def test_only_destinations_in_trouble_are_kept_and_not_without_bound() -> None:
    breakers = Breakers(RULES)
    breakers.of("https://well").answered()
    breakers.tidy("https://well", now_s=0)
    assert len(breakers) == 0

    for number in range(MAX_DESTINATIONS + 5):
        breakers.of(f"https://{number}").failed(PLAIN, now_s=0)
        breakers.tidy(f"https://{number}", now_s=0)

    assert len(breakers) == MAX_DESTINATIONS
