"""The HTTP server, and how it closes without dropping a request.

Uvicorn closes its port and its idle connections at once. A request that is on its way then is reset, and its client
cannot know what became of it.
Invariant: who had connected before the port closed is answered once more, if the request comes within LINGER_S.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn

from gotaskq.api.protocol import HardenedProtocol

LINGER_S: Final = 0.5  # a round trip, and the time a client needs to send what it has begun
LOOK_EVERY_S: Final = 0.02


class Server(uvicorn.Server):
    """Uvicorn's server without its signal handlers, the process's end being ours to order, and with a softer close."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, answer who is connected already, then let uvicorn close what is left."""
        if not self.force_exit:
            await self._close_port(sockets or [])
            await self._linger()
        await super().shutdown(sockets)

    async def _close_port(self, listeners: list[socket.socket]) -> None:
        """Close the port, and take those in who had connected and were not accepted yet: closing resets them."""
        waiting = []
        for listener in listeners:
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting.append(listener.accept()[0])
        for server in self.servers:
            server.close()  # in the same step: who connects in between is reset
        for connection in waiting:
            with contextlib.suppress(OSError):  # it has gone again
                await asyncio.get_running_loop().connect_accepted_socket(self._make_protocol, connection)

    async def _linger(self) -> None:
        """Let each connection have one more answer, and return when all are closed or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self.force_exit:
                    for connection in self.server_state.connections:
                        if isinstance(connection, HardenedProtocol):
                            connection.end_soon()
                    await asyncio.sleep(LOOK_EVERY_S)  # also for those the loop has accepted and not made known yet
                    if not self.server_state.connections:
                        return

    def _make_protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        protocol = make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        if isinstance(protocol, HardenedProtocol):
            protocol.end_soon()  # its request may be here before anyone can say so
        return protocol
