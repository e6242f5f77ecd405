"""The sender: one POST to one destination, bounded in time and in what is read of the answer.

Imported by Deliveries when something is sent, for it needs httpx2. It speaks httpcore2, the part of httpx2 that opens
connections: only there can the address that was judged be the one that is connected to, while TLS and the Host header
keep the name. It knows no proxies of the environment, follows no redirect and unpacks nothing.
Invariant: whatever the destination does, `send` ends with an Ending, or by being cancelled.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final

import httpcore2

from gotaskq.clock import Clock
from gotaskq.delivery.destination import DEFAULT_PORTS, Destination, Guard
from gotaskq.delivery.errors import DestinationError
from gotaskq.delivery.verdict import MAX_BODY_BYTES, Answer, Ending, Forbidden, NoAnswer

CONNECT_S: Final = 5.0  # for one address, so that one that is silent leaves time for the next
KEPT_CONNECTIONS: Final = 100
KEEP_IDLE_S: Final = 4.0  # shorter than servers keep theirs, so that none is closed under a request
FAILURES: Final = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)


class Sender:
    """Sends to destinations the guard admits, over connections it keeps for a while."""

    def __init__(self, guard: Guard, clock: Clock, *, tls: ssl.SSLContext | None = None) -> None:
        self._clock = clock
        tls = tls or httpcore2.default_ssl_context()
        # One pool a scheme: what opens connections must know whether they will be encrypted.
        self._pools = {
            scheme: httpcore2.AsyncConnectionPool(
                ssl_context=tls,
                max_connections=None,  # a worker's slots are the bound
                max_keepalive_connections=KEPT_CONNECTIONS,
                keepalive_expiry=KEEP_IDLE_S,
                network_backend=_Judging(scheme, guard, clock),
            )
            for scheme in DEFAULT_PORTS
        }

    async def send(
        self, destination: Destination, body: bytes, *, headers: Mapping[str, str], timeout_s: float
    ) -> Ending:
        """Send a body and return how that ended."""
        try:
            async with self._clock.timeout(timeout_s):
                return await self._post(destination, body, headers)
        except DestinationError as error:
            return Forbidden(str(error))
        except TimeoutError:
            return NoAnswer(f"no answer within {timeout_s:g} s")
        except FAILURES as error:
            return NoAnswer(str(error) or type(error).__name__)

    async def close(self) -> None:
        """Let go of the connections."""
        for pool in self._pools.values():
            await pool.aclose()

    async def _post(self, destination: Destination, body: bytes, headers: Mapping[str, str]) -> Answer:
        url = httpcore2.URL(
            scheme=destination.scheme, host=destination.host, port=destination.port, target=destination.target
        )
        sent = [("host", destination.authority), *headers.items()]
        pool = self._pools[destination.scheme]
        async with pool.stream("POST", url, headers=sent, content=body) as response:
            read, is_whole = await _read(response)
        retry_after = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
        text = None if retry_after is None else retry_after.decode("ascii", "replace").strip()
        return Answer(response.status, read, is_whole, text)


async def _read(response: httpcore2.Response) -> tuple[bytes, bool]:
    """Return an answer's body, and whether that is all; where it is not, leaving it closes the connection."""
    read = bytearray()
    async for part in response.aiter_stream():
        read += part
        if len(read) > MAX_BODY_BYTES:
            return bytes(read[:MAX_BODY_BYTES]), False
    return bytes(read), True


class _Judging(httpcore2.AnyIOBackend):
    """Opens connections: to an address that was judged just now, and to nothing else."""

    def __init__(self, scheme: str, guard: Guard, clock: Clock) -> None:
        self._scheme = scheme
        self._guard = guard
        self._clock = clock

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the pool's; ours is around all of it
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of a host that lets us; raises DestinationError where none may be tried."""
        failure: Exception | None = None
        for address in await self._guard.addresses(Destination(self._scheme, host, port, "/")):
            try:
                async with self._clock.timeout(CONNECT_S):
                    return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.NetworkError, TimeoutError) as error:
                failure = error
        raise httpcore2.ConnectError(str(failure) or "no connection in time")
