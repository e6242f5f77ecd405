"""Metrics of several processes: whichever is scraped answers for all.

Each keeps a socket and a file in the folder they share. Who is scraped asks the others' sockets; of one that is dead
or too busy to answer, it takes the file. A process that is restarted goes on from the file of the one before it.
Invariant: what is shown is in the file first, so no counter ever goes down, however a process ends; what was counted
since the last save and never shown is lost with a process that is killed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from gotaskq.metrics import Counted, add_up

SAVE_EVERY_S: Final = 1.0
ASK_S: Final = 0.5  # well below the 10 s a scrape may take, and long for a loop that is not blocked
NOTHING: Final = Counted([])
NOTHING_NOW: Final = {"active_workers": 0, "abandoned": 0}  # what ends with a process, unlike its counters

logger = logging.getLogger(__name__)
_decode: Final = msgspec.json.Decoder(Counted).decode
_encode: Final = msgspec.json.Encoder().encode


class SharedCounts:
    """The counters of one process, open to its siblings for as long as it is entered."""

    def __init__(self, folder: Path, *, number: int, counted: Callable[[], Awaitable[Counted]]) -> None:
        self._folder = folder
        self._number = number
        self._counted = counted
        self._file = folder / f"{number}.counts"
        self._socket = folder / f"{number}.sock"
        self._earlier = NOTHING
        self._saved = b""
        self._is_disk_failing = False
        self._server: asyncio.Server | None = None
        self._saving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._earlier = msgspec.structs.replace(self._read(self._number), **NOTHING_NOW)
        self._socket.unlink(missing_ok=True)  # of the process that was here before
        self._server = await asyncio.start_unix_server(self._answer, self._socket)
        await self._save()
        self._saving = asyncio.create_task(self._keep_saving())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._saving is not None:
            self._saving.cancel()
        if self._server is not None:
            self._server.close()
        self._socket.unlink(missing_ok=True)
        await self._save()

    async def gather(self) -> Counted:
        """Return what all processes have counted, this one and the earlier ones in its place included."""
        siblings = {int(file.stem) for file in self._folder.glob("*.counts")} - {self._number}
        async with asyncio.TaskGroup() as asking:
            answers = [asking.create_task(self._ask(number)) for number in siblings]
        return add_up([_decode(await self._save()), *(answer.result() for answer in answers)])

    async def _ask(self, number: int) -> Counted:
        try:
            async with asyncio.timeout(ASK_S):
                reader, writer = await asyncio.open_unix_connection(self._folder / f"{number}.sock")
                with contextlib.closing(writer):
                    return _decode(await reader.read())
        except (ConnectionRefusedError, FileNotFoundError):  # nobody is there now, so nothing runs there
            return msgspec.structs.replace(self._read(number), **NOTHING_NOW)
        except (OSError, msgspec.DecodeError) as error:  # TimeoutError is an OSError
            logger.warning("a sibling does not answer", extra={"number": number, "error": repr(error)})
            return self._read(number)

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            writer.write(await self._save())
            await writer.drain()

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self._save()

    async def _save(self) -> bytes:
        """Write the counters to the file, and return them as written: nothing is shown that is not saved."""
        content = _encode(add_up([self._earlier, await self._counted()]))
        if content == self._saved:
            return content
        try:
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(content)
            fresh.replace(self._file)
        except OSError as error:
            # Metrics are wanted most when something is wrong: show them all the same, and say once what is at risk.
            if not self._is_disk_failing:
                logger.warning("counters cannot be saved; a restart may lose some", extra={"error": repr(error)})
            self._is_disk_failing = True
        else:
            self._saved, self._is_disk_failing = content, False
        return content

    def _read(self, number: int) -> Counted:
        try:
            return _decode((self._folder / f"{number}.counts").read_bytes())
        except FileNotFoundError:
            return NOTHING
