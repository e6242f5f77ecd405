"""Sharing of types: said at once and every minute, read at once and every few seconds, through outages."""

from collections.abc import Mapping
from random import Random
from typing import cast

import pytest

from gotaskq.backends.memory.board import MemoryBoard
from gotaskq.board import Notice
from gotaskq.engine.admission import Admission
from gotaskq.engine.requests import JobType
from gotaskq.errors import BackendUnavailableError
from gotaskq.testing.clock import FakeClock
from gotaskq.type_sharing import READ_EVERY_S, SAY_EVERY_S, TYPES, TypeSharing
from gotaskq.types_elsewhere import TypesElsewhere


class Board(MemoryBoard):
    """A board that may be away, and counts what is asked of it."""

    is_away = False
    publications = 0
    reads = 0

    async def post(self, bodies: Mapping[str, bytes]) -> None:
        self.publications += 1
        await self._look()
        await super().post(bodies)

    async def read(self) -> list[Notice]:
        self.reads += 1
        await self._look()
        return await super().read()

    async def _look(self) -> None:
        if self.is_away:
            raise BackendUnavailableError


class Door:
    """What stands for the admission."""

    def __init__(self) -> None:
        self.learned: list[list[str]] = []

    def learn(self, types: dict[str, JobType]) -> None:
        self.learned.append([*types])


@pytest.fixture
def board(clock: FakeClock) -> Board:
    return Board(TYPES, now_ms=clock.now_ms)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def sharing(board: Board, door: Door, clock: FakeClock) -> TypeSharing:
    return TypeSharing(
        board,
        TypesElsewhere({}, list),
        cast("Admission", door),
        notices=lambda: [b'{"type":"own"}'],
        clock=clock,
        rng=Random(1),
    )


async def test_others_are_read_at_once_and_again_and_again(
    sharing: TypeSharing, board: Board, door: Door, clock: FakeClock
) -> None:
    await board.post({"a": b'{"type":"a"}'})
    async with sharing.reading():
        at_once = [*door.learned]
        await board.post({"b": b'{"type":"b"}'})
        await clock.advance(1.5 * READ_EVERY_S)
        soon = [*door.learned]
        await clock.advance(10 * READ_EVERY_S)
    reads = board.reads
    await clock.advance(10 * READ_EVERY_S)

    assert (at_once, soon) == ([["a"]], [["a"], ["a", "b"]])
    assert door.learned == soon  # what has not changed is not learned again
    assert 8 <= reads == board.reads


async def test_what_runs_here_is_said_at_once_and_again_and_again(
    sharing: TypeSharing, board: Board, clock: FakeClock
) -> None:
    async with sharing.saying():
        await clock.advance(0.001)
        at_once = await board.read()
        await clock.advance(10 * SAY_EVERY_S)
    publications = board.publications
    await clock.advance(10 * SAY_EVERY_S)

    assert [notice.body for notice in at_once] == [b'{"type":"own"}']
    assert 7 <= publications == board.publications


async def test_a_board_that_is_away_is_tried_again(
    sharing: TypeSharing, board: Board, door: Door, clock: FakeClock
) -> None:
    await board.post({"a": b'{"type":"a"}'})
    board.is_away = True
    async with sharing.reading(), sharing.saying():
        await clock.advance(3 * SAY_EVERY_S)
        while_away = [*door.learned]
        board.is_away = False
        await clock.advance(1.5 * SAY_EVERY_S)

        assert (while_away, door.learned) == ([], [["a"]])
        assert {notice.body for notice in await board.read()} == {b'{"type":"a"}', b'{"type":"own"}'}
