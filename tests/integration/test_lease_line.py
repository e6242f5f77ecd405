"""The lease line on real servers: it says what `extend` says, and comes back by itself."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import trustme
from tests.faults.proxy import FaultProxy
from tests.integration.test_redis_store import opened, tls_before
from tests.redis_servers import HOST, Flavour, RedisServer, flavours, running
from tests.redis_stores import url_of_user

from gotaskq.backend import Extended
from gotaskq.errors import BackendUnavailableError
from gotaskq.job import JobId, Lease
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import Jobs, enqueue, lease_of, reserve

pytestmark = pytest.mark.slow

LEASE_MS = 30_000
TIMEOUT_S = 2.0
UNKNOWN = Lease(JobId(1), "nobody's")


@pytest.fixture(params=flavours(), ids=lambda flavour: flavour.name)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    flavour: Flavour = request.param
    with RedisServer(flavour) as started:
        yield started


@pytest.fixture
def job(clock: FakeClock) -> Jobs:
    return Jobs(clock, Random(1))


async def test_it_says_what_extend_says(server: RedisServer, job: Jobs) -> None:
    async with opened(server.url) as backend:
        await enqueue(backend, job(), job())
        held, cancelled = await reserve(backend, limit=2)
        await backend.cancel(cancelled.id)
        leases = [lease_of(held), UNKNOWN, lease_of(cancelled)]
        line = backend.lease_line(timeout_s=TIMEOUT_S)

        replies = line.extend(leases, lease_ms=LEASE_MS)

        assert replies == [Extended.HELD, Extended.LOST, Extended.CANCEL_REQUESTED]
        assert replies == await backend.extend(leases, lease_ms=LEASE_MS)
        assert line.extend([], lease_ms=LEASE_MS) == []
        line.close()


async def test_it_comes_back_with_a_server_that_forgot_its_scripts(server: RedisServer, job: Jobs) -> None:
    async with opened(server.url) as backend:
        line = backend.lease_line(timeout_s=TIMEOUT_S)
        line.extend([UNKNOWN], lease_ms=LEASE_MS)

        server.kill()
        with pytest.raises(BackendUnavailableError, match="did not answer"):
            line.extend([UNKNOWN], lease_ms=LEASE_MS)
        server.start()

        assert line.extend([UNKNOWN], lease_ms=LEASE_MS) == [Extended.LOST]
        line.close()


async def test_an_address_that_leads_to_another_master_is_followed(job: Jobs) -> None:
    with RedisServer() as old, RedisServer() as new, FaultProxy(old.port) as address:
        async with opened(address.url) as backend:
            line = backend.lease_line(timeout_s=TIMEOUT_S)
            line.extend([UNKNOWN], lease_ms=LEASE_MS)

            address.target_port = new.port  # for new connections
            with old.client() as client:
                client.replicaof(HOST, new.port)
            with pytest.raises(BackendUnavailableError, match="read only"):
                line.extend([UNKNOWN], lease_ms=LEASE_MS)

            assert line.extend([UNKNOWN], lease_ms=LEASE_MS) == [Extended.LOST]
            line.close()


async def test_a_server_that_stands_still_is_given_up_on(server: RedisServer, job: Jobs) -> None:
    async with opened(server.url) as backend:
        line = backend.lease_line(timeout_s=0.05)
        line.extend([UNKNOWN], lease_ms=LEASE_MS)

        server.freeze()
        with pytest.raises(BackendUnavailableError):
            line.extend([UNKNOWN], lease_ms=LEASE_MS)
        server.thaw()

        patient = backend.lease_line(timeout_s=TIMEOUT_S)
        assert patient.extend([UNKNOWN], lease_ms=LEASE_MS) == [Extended.LOST]
        patient.close()
        line.close()


async def test_it_needs_no_more_rights_than_the_rest() -> None:
    with running() as server:
        async with opened(url_of_user(server)) as backend:
            line = backend.lease_line(timeout_s=TIMEOUT_S)

            assert line.extend([UNKNOWN], lease_ms=LEASE_MS) == [Extended.LOST]
            line.close()


async def test_it_speaks_tls(tmp_path: Path, job: Jobs) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with RedisServer() as server:
        async with tls_before(server, authority) as port:
            url = f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
            async with opened(url) as backend:
                line = backend.lease_line(timeout_s=TIMEOUT_S)

                # In a thread, as the side that speaks TLS for the server runs on this loop.
                assert await asyncio.to_thread(line.extend, [UNKNOWN], lease_ms=LEASE_MS) == [Extended.LOST]
                line.close()
