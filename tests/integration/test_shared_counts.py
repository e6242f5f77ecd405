"""Counters that processes share, with real sockets and files: siblings that answer, hang, die and come back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from gotaskq.metrics import Counted, Series
from gotaskq.processes import counts
from gotaskq.processes.counts import SharedCounts

TYPE: Final = ("default", "email")


class Process:
    """What one process has counted; a test sets it."""

    def __init__(self, done: int = 0, *, active: int = 0) -> None:
        self.done = done
        self.active = active

    async def counted(self) -> Counted:
        return Counted([(*TYPE, Series(done=self.done))] if self.done else [], self.active)

    def shared(self, folder: Path, number: int) -> SharedCounts:
        return SharedCounts(folder, number=number, counted=self.counted)


async def gathered(shared: SharedCounts) -> tuple[int, int]:
    """Return what a scrape shows: jobs done, and active workers."""
    counted = await shared.gather()
    return sum(series.done for _, _, series in counted.series), counted.active_workers


async def die(shared: SharedCounts) -> None:
    """End as a process that is killed: no last save, and the socket is still there but nobody behind it."""
    assert shared._server is not None
    assert shared._saving is not None
    shared._saving.cancel()
    shared._server.close()
    await shared._server.wait_closed()
    shared._socket.touch()


@contextlib.asynccontextmanager
async def hanging(folder: Path, number: int) -> AsyncIterator[None]:
    """Be a sibling that takes connections and never answers."""
    let_go = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.close()

    server = await asyncio.start_unix_server(hang, folder / f"{number}.sock")
    try:
        yield
    finally:
        let_go.set()
        server.close()


async def test_whoever_is_asked_answers_for_all(tmp_path: Path) -> None:
    processes = [Process(1, active=1), Process(10, active=2), Process(100)]
    async with contextlib.AsyncExitStack() as stack:
        opening = [process.shared(tmp_path, number) for number, process in enumerate(processes)]
        shared = [await stack.enter_async_context(one) for one in opening]
        processes[2].done += 1

        assert [await gathered(one) for one in shared] == [(112, 3)] * 3


async def test_one_alone_answers_for_itself(tmp_path: Path) -> None:
    async with Process(3).shared(tmp_path, 0) as shared:
        assert await gathered(shared) == (3, 0)


async def test_one_that_ended_well_still_counts_and_runs_nothing(tmp_path: Path) -> None:
    async with Process(1).shared(tmp_path, 0) as shared:
        gone = Process(10, active=5)
        async with gone.shared(tmp_path, 1):
            gone.done = 20

        assert await gathered(shared) == (21, 0)


async def test_what_was_shown_of_one_that_was_killed_is_not_taken_back(tmp_path: Path) -> None:
    async with Process(1).shared(tmp_path, 0) as shared:
        killed = Process(10, active=5)
        its = await killed.shared(tmp_path, 1).__aenter__()
        killed.done = 20
        before = await gathered(shared)
        await die(its)

        assert before == (21, 5)
        assert await gathered(shared) == (21, 0)


async def test_who_is_scraped_itself_saves_what_it_shows(tmp_path: Path) -> None:
    killed = Process(10)
    its = await killed.shared(tmp_path, 1).__aenter__()
    killed.done = 20
    assert await gathered(its) == (20, 0)
    await die(its)

    async with Process().shared(tmp_path, 0) as shared:
        assert await gathered(shared) == (20, 0)


async def test_a_successor_goes_on_from_where_the_one_before_it_was(tmp_path: Path) -> None:
    async with Process().shared(tmp_path, 0) as shared:
        for _ in range(3):
            its = await Process(10, active=5).shared(tmp_path, 1).__aenter__()
            await die(its)

        async with Process(1).shared(tmp_path, 1) as successor:
            assert [await gathered(shared), await gathered(successor)] == [(31, 0)] * 2


async def test_one_that_hangs_is_shown_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "ASK_S", 0.01)
    its = await Process(10, active=2).shared(tmp_path, 1).__aenter__()
    await die(its)
    its._socket.unlink()

    async with Process(1).shared(tmp_path, 0) as shared, hanging(tmp_path, 1):
        assert await gathered(shared) == (11, 2)


async def test_half_an_answer_is_none(tmp_path: Path) -> None:
    its = await Process(10).shared(tmp_path, 1).__aenter__()
    await die(its)
    its._socket.unlink()

    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"series":[["default",')
        writer.close()

    server = await asyncio.start_unix_server(cut, its._socket)
    async with Process(1).shared(tmp_path, 0) as shared:
        assert await gathered(shared) == (11, 0)
    server.close()


async def test_where_nothing_can_be_saved_it_still_answers_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(1)
    async with process.shared(tmp_path, 0) as shared:

        def fail(_: Path, __: bytes) -> int:
            raise OSError("no space left on device")

        with monkeypatch.context() as full:
            full.setattr(Path, "write_bytes", fail)
            process.done = 2
            shown = [await gathered(shared) for _ in range(3)]

        assert shown == [(2, 0)] * 3
        assert [record.message.partition(";")[0] for record in caplog.records] == ["counters cannot be saved"]
