"""The contracts of the policies: queue selectors, orderings and retry policies."""

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final, NamedTuple

import pytest
from msgspec.structs import replace

from gotaskq.job import MAX_PRIORITY, MIN_PRIORITY, DeathReason
from gotaskq.policies.ordering import MAX_RANK, Ordering
from gotaskq.policies.retry import GiveUp, Retry, RetryIn, RetryPolicy
from gotaskq.policies.scheduling import QueueSelector
from gotaskq.testing.clock import START_MS, FakeClock
from gotaskq.testing.conformance.given import Jobs

SEED: Final = 20_261_123  # fixed: a contract test that fails must fail again
QUEUES: Final = ("default", "mail", "reports", "urgent", "video")
ROUNDS: Final = 500
MAX_DELAY_MS: Final = 31_536_000_000  # a year
INSTANTS_MS: Final = (0, 1, START_MS - 1, START_MS, START_MS + 1, START_MS + 50 * 31_536_000_000)


class SelectorConformance:
    """Every queue once, each with a turn, and none forgotten; subclass it and define `make_selector`."""

    may_starve: ClassVar[bool] = False  # True for one that lets a queue wait while another has jobs, as it is asked to

    def make_selector(self) -> QueueSelector:
        """Return a new selector for the queues in `QUEUES`."""
        raise NotImplementedError("a conformance test class must define make_selector")

    def test_each_queue_has_one_turn(self) -> None:
        selector = self.make_selector()

        for count in (0, 1, 3, len(QUEUES)):
            turns = selector.order(QUEUES[:count])
            assert sorted(turn.queue for turn in turns) == sorted(QUEUES[:count])
            assert all(turn.take >= 1 for turn in turns)

    def test_queues_may_come_and_go(self) -> None:
        selector, rng = self.make_selector(), Random(SEED)

        for _ in range(ROUNDS):
            queues = tuple(rng.sample(QUEUES, rng.randint(0, len(QUEUES))))
            turns = selector.order(queues)
            assert sorted(turn.queue for turn in turns) == sorted(queues)
            selector.served(rng.choice(QUEUES))  # it may have gone by then

    def test_two_selectors_share_nothing(self) -> None:
        first, second, third = self.make_selector(), self.make_selector(), self.make_selector()
        third.order(QUEUES)

        for queue in QUEUES:
            first.order(QUEUES)
            first.served(queue)

        assert list(second.order(QUEUES)) == list(third.order(QUEUES))

    def test_no_queue_starves(self) -> None:
        if self.may_starve:
            return
        for limit in (1, 3, 50):
            assert {*_served(self.make_selector(), QUEUES, limit=limit)} == {*QUEUES}
            assert {*_served(self.make_selector(), QUEUES[1:3], limit=limit)} == {*QUEUES[1:3]}


def _served(selector: QueueSelector, full: Sequence[str], *, limit: int) -> list[str]:
    """Return where the jobs of many reservations come from, when only `full` queues have jobs, and always have."""
    served: list[str] = []
    for _ in range(ROUNDS):
        turns = [turn for turn in selector.order(QUEUES) if turn.queue in full]
        taken = [turn.queue for turn in turns for _ in range(min(turn.take, limit))][:limit]
        selector.served(taken[-1])
        served += taken
    return served


class OrderingConformance:
    """Whole numbers in bounds, the same for the same, and going one way; subclass it and define `make_ordering`."""

    def make_ordering(self) -> Ordering:
        """Return the ordering."""
        raise NotImplementedError("a conformance test class must define make_ordering")

    def test_a_rank_is_a_whole_number_that_every_store_can_hold(self) -> None:
        ordering = self.make_ordering()

        for priority in range(MIN_PRIORITY, MAX_PRIORITY + 1):
            for created_at_ms in INSTANTS_MS:
                rank = ordering.rank(priority=priority, created_at_ms=created_at_ms)
                assert type(rank) is int
                assert 0 <= rank <= MAX_RANK

    def test_equals_have_equal_ranks(self) -> None:
        first, second = self.make_ordering(), self.make_ordering()

        for priority in (MIN_PRIORITY, 5, MAX_PRIORITY):
            ranks = [one.rank(priority=priority, created_at_ms=START_MS) for one in (first, second, first)]
            assert ranks == [ranks[0]] * 3

    def test_within_a_priority_ranks_go_one_way_with_age(self) -> None:
        ordering = self.make_ordering()

        for priority in range(MIN_PRIORITY, MAX_PRIORITY + 1):
            assert _goes_one_way([ordering.rank(priority=priority, created_at_ms=at_ms) for at_ms in INSTANTS_MS])

    def test_within_an_age_ranks_go_one_way_with_priority(self) -> None:
        ordering = self.make_ordering()
        priorities = range(MIN_PRIORITY, MAX_PRIORITY + 1)

        for at_ms in INSTANTS_MS:
            assert _goes_one_way([ordering.rank(priority=priority, created_at_ms=at_ms) for priority in priorities])


def _goes_one_way(ranks: list[int]) -> bool:
    return ranks in (sorted(ranks), sorted(ranks, reverse=True))


class Case(NamedTuple):
    """A line of a retry policy's table: after so many retries and this error, what it answers.

    A range is of the delay in milliseconds, over every chance.
    """

    retry_count: int
    error: BaseException
    answer: range | GiveUp


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it cannot even be shown")


ERRORS: Final = (
    ValueError("no luck"),
    OSError(),
    _UnspeakableError(),
    SystemExit(3),
    BaseExceptionGroup("", [OSError()]),
)


class RetryPolicyConformance:
    """An answer for every failure, whatever the count, and the same for the same; subclass it, define `make_policy`.

    `table` says what this policy answers in particular.
    """

    table: ClassVar[Sequence[Case]] = ()

    def make_policy(self) -> RetryPolicy:
        """Return the policy."""
        raise NotImplementedError("a conformance test class must define make_policy")

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("retry_count", [0, 1, 5, 63, 100, 10_000])
    def test_every_failure_has_an_answer(self, retry_count: int, error: BaseException) -> None:
        for seed in range(20):
            _check(_ask(self.make_policy(), retry_count, error, seed=seed))

    def test_chance_is_what_is_passed_in(self) -> None:
        policy = self.make_policy()

        for retry_count in range(5):
            answers = [_ask(policy, retry_count, ERRORS[0], seed=SEED) for _ in range(3)]
            assert answers == [answers[0]] * 3

    def test_the_table_holds(self) -> None:
        for case in self.table:
            for seed in range(50):
                answer = _ask(self.make_policy(), case.retry_count, case.error, seed=seed)
                if isinstance(case.answer, range):
                    assert isinstance(answer, RetryIn), case
                    assert answer.delay_ms in case.answer, case
                else:
                    assert answer == case.answer, case


def _ask(policy: RetryPolicy, retry_count: int, error: BaseException, *, seed: int) -> Retry:
    job = replace(Jobs(FakeClock(), Random(SEED))(max_retries=retry_count + 1), retry_count=retry_count)
    return policy.decide(replace(job, attempt=retry_count + 1), error, rng=Random(seed))


def _check(answer: Retry) -> None:
    if isinstance(answer, GiveUp):
        assert isinstance(answer.reason, DeathReason)
        return
    assert isinstance(answer, RetryIn)
    assert type(answer.delay_ms) is int
    assert 0 <= answer.delay_ms <= MAX_DELAY_MS
