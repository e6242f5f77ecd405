"""Notice boards: an ability a backend may have; what processes say under keys, others read."""

import pytest

from gotaskq.backend import Backend
from gotaskq.board import Board, BoardTerms, KeepsBoards
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.suite import ConformanceSuite

TERMS = BoardTerms("news", ttl_ms=60_000, max_notices=1_000, max_bytes=100_000)


def board_of(backend: Backend, terms: BoardTerms = TERMS) -> Board:
    assert isinstance(backend, KeepsBoards)
    return backend.board(terms)


async def remembered(board: Board) -> dict[str, bytes]:
    """Return what is on the board, on which each key must be once."""
    notices = await board.read()
    found = {notice.key: notice.body for notice in notices}
    assert len(found) == len(notices)
    return found


class BoardsConformance(ConformanceSuite):
    async def test_a_board_begins_empty(self, backend: Backend) -> None:
        await board_of(backend).post({})
        await board_of(backend).remove([])

        assert await remembered(board_of(backend)) == {}

    async def test_what_was_said_is_read_to_the_byte(self, backend: Backend) -> None:
        board = board_of(backend)
        said = {"a": b'{"type":"a"}', "b": b"\x00\xff\r\n\t", "größe": "größe".encode(), "long": b"x" * 70_000}

        await board.post(said)

        assert await remembered(board) == said
        assert await remembered(board) == said  # what a reader keeps of it is no other
        assert await remembered(board_of(backend)) == said

    async def test_many_are_said_read_and_removed_at_once(self, backend: Backend) -> None:
        board = board_of(backend)
        said = {f"{number}": b"%d" % number for number in range(300)}

        await board.post(said)
        before = await remembered(board)
        await board.remove([*said][:200])

        assert before == said
        assert await remembered(board) == {key: said[key] for key in [*said][200:]}

    async def test_it_says_how_long_ago_each_was_said(self, backend: Backend, clock: MovableClock) -> None:
        board = board_of(backend)
        await board.post({"a": b"1"})
        await clock.advance(30)
        await board.post({"b": b"2"})
        await clock.advance(1)

        ages = {notice.key: notice.age_ms for notice in await board.read()}

        assert ages == {"a": 31_000, "b": 1_000}

    async def test_what_is_said_anew_is_there_once_and_young(self, backend: Backend, clock: MovableClock) -> None:
        writer, reader = board_of(backend), board_of(backend)
        await writer.post({"a": b"1", "b": b"2"})
        await reader.read()
        await clock.advance(30)

        await writer.post({"a": b"3"})

        notices = sorted((notice.key, notice.body, notice.age_ms) for notice in await reader.read())
        assert notices == [("a", b"3", 0), ("b", b"2", 30_000)]

    async def test_what_nobody_says_any_more_is_forgotten(self, backend: Backend, clock: MovableClock) -> None:
        board = board_of(backend)
        await board.post({"old": b"1", "kept": b"2"})
        await clock.advance(59.999)
        before = await remembered(board)
        await board.post({"kept": b"2"})
        await clock.advance(0.001)

        assert before.keys() == {"old", "kept"}
        assert (await remembered(board)).keys() == {"kept"}
        await board.post({"old": b"3"})
        assert await remembered(board) == {"old": b"3", "kept": b"2"}

    async def test_of_too_many_those_said_longest_ago_go(self, backend: Backend, clock: MovableClock) -> None:
        board = board_of(backend, BoardTerms("few", ttl_ms=60_000, max_notices=3, max_bytes=10))
        for key in ("a", "b", "c", "a"):
            await board.post({key: b"1"})
            await clock.advance(1)

        await board.post({"d": b"1"})

        assert (await remembered(board)).keys() == {"c", "a", "d"}

    async def test_what_is_too_large_is_refused_and_nothing_said(self, backend: Backend) -> None:
        board = board_of(backend)

        with pytest.raises(ValueError, match="'b' has 100001 bytes, and a notice on the board 'news' at most 100000"):
            await board.post({"a": b"1", "b": b"x" * 100_001})

        assert await remembered(board) == {}

    async def test_what_is_removed_is_gone_at_once(self, backend: Backend) -> None:
        board = board_of(backend)
        await board.post({"a": b"1", "b": b"2"})

        await board.remove(["a", "nobody said this"])

        assert await remembered(board) == {"b": b"2"}

    async def test_boards_have_nothing_in_common(self, backend: Backend) -> None:
        other = board_of(backend, BoardTerms("other", ttl_ms=60_000, max_notices=3, max_bytes=10))
        await board_of(backend).post({"a": b"1"})
        await other.post({"a": b"2"})

        await board_of(backend).remove(["a"])

        assert (await remembered(board_of(backend)), await remembered(other)) == ({}, {"a": b"2"})

    async def test_jobs_do_not_mind(self, backend: Backend) -> None:
        await board_of(backend).post({"a": b"1"})

        assert [*await backend.queues()] == ["default"]
