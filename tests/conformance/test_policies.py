"""The policies we ship keep their contracts."""

from gotaskq import ExponentialBackoff, Fifo, FixedDelay, NoRetry, PriorityFifo, RoundRobin, StrictPriority, Weighted
from gotaskq.job import DeathReason
from gotaskq.policies.retry import GiveUp
from gotaskq.testing.conformance import Case, OrderingConformance, RetryPolicyConformance, SelectorConformance

ERROR = ValueError("no luck")


class TestRoundRobin(SelectorConformance):
    def make_selector(self) -> RoundRobin:
        return RoundRobin()


class TestWeighted(SelectorConformance):
    def make_selector(self) -> Weighted:
        return Weighted({"mail": 5, "video": 20})


class TestStrictPriority(SelectorConformance):
    may_starve = True

    def make_selector(self) -> StrictPriority:
        return StrictPriority("urgent", "mail")


class TestPriorityFifo(OrderingConformance):
    def make_ordering(self) -> PriorityFifo:
        return PriorityFifo()


class TestFifo(OrderingConformance):
    def make_ordering(self) -> Fifo:
        return Fifo()


class TestExponentialBackoff(RetryPolicyConformance):
    table = (
        Case(0, ERROR, range(100, 141)),
        Case(3, ERROR, range(800, 1_121)),
        Case(99, ERROR, range(5_000, 7_001)),
    )

    def make_policy(self) -> ExponentialBackoff:
        return ExponentialBackoff(base_ms=100, cap_ms=5_000, jitter=0.4)


class TestFixedDelay(RetryPolicyConformance):
    table = (Case(0, ERROR, range(250, 251)), Case(9, ERROR, range(250, 251)))

    def make_policy(self) -> FixedDelay:
        return FixedDelay(250)


class TestNoRetry(RetryPolicyConformance):
    table = (Case(0, ERROR, GiveUp(DeathReason.NO_RETRY)),)

    def make_policy(self) -> NoRetry:
        return NoRetry()
