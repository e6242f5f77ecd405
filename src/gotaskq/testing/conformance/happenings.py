"""The log of happenings: an ability a backend may have; what processes tell of their jobs, those who watch read."""

import asyncio
from typing import Final

import pytest

from gotaskq.backend import Backend
from gotaskq.happening_log import KEPT, KEPT_FOR_S, HappeningLog, SharesHappenings
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.suite import ConformanceSuite

ALL: Final = 20_000
GUARD_S: Final = 20  # real seconds; only a wait that fails its test lasts this long


def log_of(backend: Backend) -> HappeningLog:
    assert isinstance(backend, SharesHappenings)
    return backend.happenings


async def bodies_in(log: HappeningLog, after: str | None = None) -> list[bytes] | None:
    entries = await log.read(after, limit=ALL)
    return None if entries is None else [entry.body for entry in entries]


async def last_of(log: HappeningLog) -> str:
    entries = await log.read(None, limit=ALL)
    assert entries
    return entries[-1].id


class SharesHappeningsConformance(ConformanceSuite):
    @pytest.fixture
    def log(self, backend: Backend) -> HappeningLog:
        return log_of(backend)

    async def test_while_nobody_watches_nothing_is_kept(self, log: HappeningLog) -> None:
        assert not log.is_watched
        assert not await log.tell([b"a"])
        assert await bodies_in(log) == []

    async def test_a_log_begins_with_a_gap_and_has_what_is_told_in_its_order(self, log: HappeningLog) -> None:
        await log.watch()

        assert log.is_watched
        assert await log.tell([b"a", b"\x00\xff\r\n"])
        assert await log.tell([b"a"])
        assert await bodies_in(log) == [b"", b"a", b"\x00\xff\r\n", b"a"]

    async def test_who_watches_again_goes_on_with_the_same_log(self, log: HappeningLog) -> None:
        await log.watch()
        await log.tell([b"a"])

        await log.watch()

        assert await bodies_in(log) == [b"", b"a"]

    async def test_it_can_be_gone_on_from_each_entry_a_page_at_a_time(self, log: HappeningLog) -> None:
        await log.watch()
        await log.tell([b"a", b"b", b"c"])
        entries = await log.read(None, limit=2)
        assert entries is not None

        later = await log.read(entries[-1].id, limit=1)

        assert [entry.body for entry in entries] == [b"", b"a"]
        assert [entry.body for entry in later or []] == [b"b"]
        assert await bodies_in(log, await last_of(log)) == []

    @pytest.mark.parametrize("entry_id", ["1-0", "9999999999999-7"])
    async def test_behind_what_never_was_is_a_gap(self, log: HappeningLog, entry_id: str) -> None:
        assert await bodies_in(log, entry_id) is None
        await log.watch()
        await log.tell([b"a"])

        assert await bodies_in(log, entry_id) is None

    async def test_of_too_many_the_oldest_are_forgotten(self, log: HappeningLog) -> None:
        await log.watch()
        first = await last_of(log)
        for _ in range(KEPT // 500 + 2):
            await log.tell([b"a"] * 500)

        bodies = await bodies_in(log)

        assert bodies is not None
        assert KEPT <= len(bodies) < KEPT + 500
        assert await bodies_in(log, first) is None

    async def test_it_is_kept_for_a_while_after_the_last_watcher(self, log: HappeningLog, clock: MovableClock) -> None:
        await log.watch()
        await clock.advance(KEPT_FOR_S - 1)
        assert await log.tell([b"a"])

        await clock.advance(2)

        assert not await log.tell([b"b"])
        assert not log.is_watched

    async def test_another_log_shares_nothing_with_the_one_before(self, log: HappeningLog, clock: MovableClock) -> None:
        await log.watch()
        await log.tell([b"a"])
        seen = await last_of(log)
        await clock.advance(KEPT_FOR_S + 1)

        await log.watch()

        assert await bodies_in(log) == [b""]
        assert await bodies_in(log, seen) is None

    async def test_who_listens_hears_that_somebody_watches(self, log: HappeningLog, clock: MovableClock) -> None:
        heard: list[bool] = []
        log.hear_watched(lambda: heard.append(log.is_watched))
        await log.watch()
        await log.watch()
        at_once = [*heard]

        log.hear_watched(lambda: heard.append(log.is_watched))

        assert (at_once, heard) == ([True], [True, True])

    async def test_who_waits_is_woken_by_what_is_told(self, log: HappeningLog, clock: MovableClock) -> None:
        await log.watch()
        last = await last_of(log)

        async def wait_for_more() -> None:
            while not await bodies_in(log, last):
                await log.wait_for_more(last, timeout_s=GUARD_S)

        waiting = asyncio.create_task(wait_for_more())
        await log.tell([b"a"])
        done, _ = await asyncio.wait([waiting], timeout=GUARD_S)

        assert done

    async def test_a_wait_that_is_given_up_holds_up_nothing(self, log: HappeningLog) -> None:
        await log.watch()
        last = await last_of(log)
        waiting = asyncio.create_task(log.wait_for_more(last, timeout_s=GUARD_S))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await log.tell([b"a"])

        async with asyncio.timeout(GUARD_S):
            await log.wait_for_more(last, timeout_s=GUARD_S)

        assert await bodies_in(log, last) == [b"a"]
