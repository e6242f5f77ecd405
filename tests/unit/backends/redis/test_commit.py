"""Group commit: who comes while a call is under way goes out together in the next one."""

import asyncio
from collections.abc import Sequence

import pytest

from gotaskq.backends.redis.commit import CALLS_AT_ONCE, Answer, GroupCommit


class GoneError(Exception):
    pass


class Store:
    """Takes calls, and answers each when told to."""

    def __init__(self) -> None:
        self.calls: list[Sequence[str]] = []
        self._heard: list[Answer] = []
        self._came = asyncio.Event()

    def send(self, items: Sequence[str], patience_s: float, heard: Answer) -> None:
        assert patience_s > 0
        self.calls.append(items)
        self._heard.append(heard)
        self._came.set()

    def answer(self, number: int, error: Exception | None = None) -> None:
        self._heard[number](error or [item.upper() for item in self.calls[number]])

    async def until_calls(self, count: int) -> None:
        while len(self.calls) < count:
            self._came.clear()
            await self._came.wait()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def heard() -> list[object]:
    return []


def commit_to(store: Store, *, max_items: int = 100, patience_s: float = 60) -> GroupCommit[str, str]:
    return GroupCommit(
        store.send, max_items=max_items, max_bytes=1_000, patience_s=patience_s, give_up=lambda: GoneError("too late")
    )


async def test_one_item_is_sent_at_once(store: Store, heard: list[object]) -> None:
    commit = commit_to(store)

    commit.put(["a"], heard.append, size=1)
    sent = list(store.calls)
    store.answer(0)
    await commit.drained()

    assert (sent, heard) == ([["a"]], [["A"]])


async def test_what_comes_while_calls_are_under_way_goes_out_together(store: Store, heard: list[object]) -> None:
    commit = commit_to(store)
    for number in range(CALLS_AT_ONCE):
        commit.put([f"{number}"], heard.append, size=1)
        await store.until_calls(number + 1)

    for item in "abc":
        commit.put([item], heard.append, size=1)
    store.answer(0)
    await store.until_calls(CALLS_AT_ONCE + 1)

    assert store.calls[CALLS_AT_ONCE] == ["a", "b", "c"]


async def test_where_many_came_together_the_next_ones_do_too(store: Store, heard: list[object]) -> None:
    commit = commit_to(store)
    for item in "abc":
        commit.put([item], heard.append, size=1)
    await store.until_calls(2)
    store.answer(0)
    store.answer(1)

    for item in "de":
        commit.put([item], heard.append, size=1)
    await store.until_calls(3)
    store.answer(2)
    commit.put(["f"], heard.append, size=1)
    await store.until_calls(4)
    store.answer(3)
    await commit.drained()

    assert store.calls == [["a"], ["b", "c"], ["d", "e"], ["f"]]


async def test_a_call_stays_within_its_limits(store: Store, heard: list[object]) -> None:
    commit = commit_to(store, max_items=2)

    for item in "abc":
        commit.put([item], heard.append, size=1)
    commit.put(["large"], heard.append, size=999)
    commit.put(["d"], heard.append, size=2)
    for answered in range(4):
        await store.until_calls(answered + 1)
        store.answer(answered)
    await commit.drained()

    assert store.calls == [["a"], ["b", "c"], ["large"], ["d"]]
    assert heard == [["A"], ["B"], ["C"], ["LARGE"], ["D"]]


async def test_everybody_in_a_call_hears_of_its_error(store: Store, heard: list[object]) -> None:
    commit = commit_to(store)
    error = GoneError("no")

    for item in "abc":
        commit.put([item], heard.append, size=1)
    await store.until_calls(2)
    store.answer(0)
    store.answer(1, error)
    await commit.drained()

    assert (store.calls, heard) == ([["a"], ["b", "c"]], [["A"], error, error])


async def test_who_waited_too_long_behind_others_is_answered_and_not_sent(store: Store, heard: list[object]) -> None:
    commit = commit_to(store, patience_s=0)

    commit.put(["a"], heard.append, size=1)
    await commit.drained()

    assert store.calls == []
    assert isinstance(heard[0], GoneError)
