"""Operations of every process on the store: looked at, listed and cancelled from any of them.

`TaskQ.operations`. Each process says on a notice board how far its own are, and reads on another whom to end.
Invariant: an operation runs in one process, and others only ask; while none runs here, nothing is said or read.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from gotaskq.backend import Backend
from gotaskq.board import Board, BoardTerms, KeepsBoards, Notice
from gotaskq.bulk import Bulk, Operation, OperationEndedError, OperationStatus, check_cancellable
from gotaskq.errors import GotaskqError, OperationNotFoundError
from gotaskq.life import Life

OPERATIONS: Final = BoardTerms("operations", ttl_ms=86_400_000, max_notices=1_000, max_bytes=32_768)
CANCELS: Final = BoardTerms("cancels", ttl_ms=600_000, max_notices=1_000, max_bytes=64)

TELL_EVERY_S: Final = 2.0  # how late others hear how far it is, and it hears that it is to end
LOST_AFTER_MS: Final = 30_000  # fifteen times as long: its process is gone, or cut off from the store
LAST_WORD_S: Final = 1.0  # what a process that ends, or a caller who wants others to know, waits for

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Operation).decode


class _Boards(NamedTuple):
    """The boards of one store."""

    backend: Backend
    operations: Board
    cancels: Board


class Operations:
    """What is known of operations, wherever they run; on a store without boards, of those of this process."""

    def __init__(self, bulk: Bulk, life: Life) -> None:
        self._bulk = bulk
        self._life = life
        self._boards: _Boards | None = None
        self._untold: set[str] = set()  # those whose end has not been said
        self._said: dict[str, asyncio.Event] = {}  # those of which nothing has been said
        self._stirred = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None
        bulk.hear = self._stir

    async def list(self, *, limit: int = 100) -> list[Operation]:
        """Return operations that run or ended within a day, the latest begun first; raises BackendUnavailableError."""
        known = {operation.id: operation for operation in await self._read()}
        known.update((operation.id, operation) for operation in self._bulk.known())
        return sorted(known.values(), key=lambda known: (-known.started_at_ms, known.id))[:limit]

    async def get(self, operation_id: str) -> Operation:
        """Return an operation as far as it is; raises OperationNotFoundError or BackendUnavailableError."""
        for operation in self._bulk.known():
            if operation.id == operation_id:
                return operation
        for operation in await self._read():
            if operation.id == operation_id:
                return operation
        raise OperationNotFoundError(operation_id)

    async def cancel(self, operation_id: str) -> Operation:
        """Ask an operation to end before its next step; what it did stays done. One that was cancelled stays as it is.

        Raises OperationNotFoundError, OperationEndedError or BackendUnavailableError.
        """
        if any(operation.id == operation_id for operation in self._bulk.known()):
            return self._bulk.cancel(operation_id)
        operation = await self.get(operation_id)
        check_cancellable(operation)
        boards = self._boards_now()
        if operation.status is OperationStatus.CANCELLED or boards is None:
            return operation
        await boards.cancels.post({operation_id: b""})
        return replace(operation, is_cancel_requested=True)

    async def told(self, operation_id: str) -> None:
        """Return once other processes can see an operation that was begun here, or a second later."""
        said = self._said.get(operation_id)
        if said is not None:
            with contextlib.suppress(TimeoutError):
                async with self._life.choices.clock.timeout(LAST_WORD_S):
                    await said.wait()

    async def close(self) -> None:
        """Say how those ended that ran here, if the store hears it soon."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
        if self._untold:
            with contextlib.suppress(GotaskqError, TimeoutError):  # else they are taken for lost
                async with self._life.choices.clock.timeout(LAST_WORD_S):
                    await self._say()
        self._untold.clear()
        self._boards = None

    # -- telling -------------------------------------------------------------------------------------------------------

    def _stir(self, operation_id: str) -> None:
        """Hear that an operation here has begun, is to end, or has ended."""
        if self._boards_now() is None:
            return
        if operation_id not in self._untold:
            self._untold.add(operation_id)
            self._said[operation_id] = asyncio.Event()
        self._stirred.set()
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell(), name="gotaskq-operations")

    async def _tell(self) -> None:
        """Say how far those are that run here, until the end of each has been said."""
        while self._untold:
            self._stirred.clear()
            with contextlib.suppress(GotaskqError):  # said by the connection, once; it is tried again
                await self._say()
                await self._hear_cancels()
            if self._untold:
                await self._pause()

    async def _say(self) -> None:
        boards = self._boards_now()
        operations = [operation for operation in self._bulk.known() if operation.id in self._untold]
        self._untold &= {operation.id for operation in operations}
        try:
            if boards is not None:
                await boards.operations.post({operation.id: _encode(operation) for operation in operations})
        finally:
            for operation in operations:
                self._said.pop(operation.id, asyncio.Event()).set()
        self._untold -= {operation.id for operation in operations if operation.status is not OperationStatus.RUNNING}

    async def _hear_cancels(self) -> None:
        boards = self._boards_now()
        if boards is None or not self._untold:
            return
        for notice in await boards.cancels.read():
            if notice.key in self._untold:
                with contextlib.suppress(OperationEndedError):
                    self._bulk.cancel(notice.key)

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with self._life.choices.clock.timeout(TELL_EVERY_S):
                await self._stirred.wait()

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _read(self) -> Sequence[Operation]:
        boards = self._boards_now()
        if boards is None:
            return []
        heard = [_operation_of(notice) for notice in await boards.operations.read()]
        return [operation for operation in heard if operation is not None]

    def _boards_now(self) -> _Boards | None:
        """Return the boards of the store that is open now; None where it keeps none, or is not open any more."""
        if not self._life.is_open:
            return None
        backend = self._life.parts.backend
        if not isinstance(backend, KeepsBoards):
            return None
        if self._boards is None or self._boards.backend is not backend:
            self._boards = _Boards(backend, backend.board(OPERATIONS), backend.board(CANCELS))
        return self._boards


def _operation_of(notice: Notice) -> Operation | None:
    """Return what a notice says; None for one of a program whose notices say something else."""
    try:
        operation = _decode(notice.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if operation.status is OperationStatus.RUNNING and notice.age_ms > LOST_AFTER_MS:
        return replace(operation, status=OperationStatus.LOST)
    return operation
