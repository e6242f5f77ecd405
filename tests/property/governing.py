"""The machine of a backend whose queues can be governed one by one: purged, with depths and times of their own."""

from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from tests.property.drawn import LIMITS
from tests.property.machine import BackendMachine

from gotaskq.governing import Governor, GovernsQueues
from gotaskq.testing.conformance.given import ALL

BOTH: Final = ("default", "mail")
KEPT_MS: Final = (None, 20_005, 200_005)  # shorter and longer than what the store keeps by itself


class GoverningMachine(BackendMachine):
    @property
    def governor(self) -> Governor:
        assert isinstance(self.backend, GovernsQueues)
        return self.backend.governor

    @rule(queue=st.sampled_from(BOTH))
    @precondition(lambda self: len(self.model.jobs) >= LIMITS.max_depth)  # else queues are mostly empty
    def purge(self, queue: str) -> None:
        assert self.run(self.governor.purge(queue, limit=ALL)) == self.model.purge(queue)

    @rule(queue=st.sampled_from(BOTH), max_depth=st.none() | st.integers(1, LIMITS.max_depth + 2))
    def set_depth(self, queue: str, max_depth: int | None) -> None:
        rules = self.run(self.governor.change(queue, {"max_depth": max_depth}))

        assert rules.max_depth == max_depth
        self.model.max_depths.pop(queue, None)
        if max_depth is not None:
            self.model.max_depths[queue] = max_depth

    @rule(queue=st.sampled_from(BOTH), ended_ms=st.sampled_from(KEPT_MS), dead_ms=st.sampled_from(KEPT_MS))
    def set_retention(self, queue: str, ended_ms: int | None, dead_ms: int | None) -> None:
        self.run(self.governor.change(queue, {"complete_job_ttl_ms": ended_ms, "dead_job_ttl_ms": dead_ms}))

        self.model.kept_ms[queue] = (ended_ms, dead_ms)

    @rule()
    def keep_up_after_a_long_time(self) -> None:
        self.advance(201)
        self.prune(ALL)

    async def _look_at_queues(self) -> None:
        await super()._look_at_queues()
        for queue, age_ms in zip(BOTH, await self.governor.ages_ms(BOTH), strict=True):
            # Of the jobs that are due, which ones are next depends on what a store has noticed yet.
            ages_ms = self.model.ages_ms(queue, self.now_ms)
            assert min(ages_ms, default=0) <= age_ms <= max(ages_ms, default=0)
