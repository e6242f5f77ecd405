"""The Redis backend on real servers: what the contract's tests, with one quiet store each, cannot show."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import redis
import trustme
from msgspec.structs import replace
from tests.redis_servers import HOST, Flavour, RedisServer, flavours, running
from tests.redis_stores import new_store, until, url_of_user

from gotaskq import TaskQ
from gotaskq.amendment import DUE_NOW
from gotaskq.backend import Enqueued, Extended, JobQuery, Note, Settled, Standing, TellsOfCancels, TellsOfLosses
from gotaskq.backends.redis import RedisBackend
from gotaskq.backends.redis.backend import RESERVE_BYTES
from gotaskq.backends.redis.keys import Keys, member
from gotaskq.clock import SystemClock
from gotaskq.errors import BackendUnavailableError, StoreFullError
from gotaskq.job import DEFAULT_QUEUE, Job, JobId, Lease
from gotaskq.outcome import Complete
from gotaskq.queue_rules import QueueRules
from gotaskq.snowflake import SpreadIds, partition_of
from gotaskq.store_limits import StoreLayout
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import (
    Jobs,
    counted,
    counts,
    enqueue,
    given_running,
    ids,
    lease_of,
    reserve,
    walk,
)

pytestmark = pytest.mark.slow

LEASE_MS = 30_000


@pytest.fixture(params=flavours(), ids=lambda flavour: flavour.name)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    flavour: Flavour = request.param
    with RedisServer(flavour) as started:
        yield started


@pytest.fixture
def job(clock: FakeClock) -> Jobs:
    return Jobs(clock, Random(1))


@asynccontextmanager
async def opened(url: str, *, prefix: str = "gtqtest", **layout: int) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(url, clock=SystemClock(), rng=Random(), layout=StoreLayout(key_prefix=prefix, **layout))
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


class TestSharing:
    async def test_a_queue_made_by_one_process_is_known_to_another(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as one, opened(server.url) as other:
            await one.create_queue("mail")

            given = job(queue="mail")
            assert await other.enqueue([given]) == [Enqueued.OK]
            assert ids(await reserve(other, "mail")) == [given.id]

    async def test_a_pause_reaches_other_processes(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as one, opened(server.url) as other:
            await enqueue(one, job())
            await one.set_paused(DEFAULT_QUEUE, paused=True)

            await until(lambda: other.is_paused(DEFAULT_QUEUE))

            assert await reserve(other) == []

    async def test_what_is_set_for_a_queue_reaches_other_processes(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as one, opened(server.url) as other:
            await one.governor.change(DEFAULT_QUEUE, {"is_draining": True, "max_depth": 1, "max_age_ms": 1})
            await enqueue(one, job())

            await until(lambda: DEFAULT_QUEUE in other.governor.rules)
            await until(lambda: other.governor.known_age_ms(DEFAULT_QUEUE) > 0)

            assert other.governor.rules[DEFAULT_QUEUE].is_draining
            assert await other.enqueue([job()]) == [Enqueued.FULL]

    async def test_two_operators_do_not_undo_each_others_work(self, server: RedisServer) -> None:
        async with opened(server.url) as one, opened(server.url) as other:
            await asyncio.gather(
                one.governor.change(DEFAULT_QUEUE, {"max_depth": 7}),
                other.governor.change(DEFAULT_QUEUE, {"rate_limit": 9}),
            )

            assert await one.governor.rules_of(DEFAULT_QUEUE) == QueueRules(max_depth=7, rate_limit=9)

    async def test_a_queue_that_gets_a_job_while_it_is_deleted_stays(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as one, opened(server.url) as other:
            await one.create_queue("mail")
            await one.set_paused("mail", paused=True)
            assert await counts(other, "mail") == counted(is_paused=True)

            deleting = asyncio.create_task(one.governor.delete("mail"))
            await until(lambda: "mail" not in one._registry.paused)
            given = job(queue="mail")
            replies = await other.enqueue([given])

            assert replies == [Enqueued.OK]
            assert not await deleting
            assert await counts(one, "mail") == counted(ready=1, is_paused=True)

    async def test_queues_are_governed_over_all_partitions(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url, partitions=3) as store:
            ids_of = SpreadIds(Random(1), partitions=3)
            jobs = []
            for _ in range(6):
                ids_of.turn()
                given = job()
                jobs.append(replace(given, id=ids_of.draw(given.created_at_ms)))
            await enqueue(store, *jobs)
            assert {partition_of(one.id) for one in jobs} == {0, 1, 2}

            ages_ms = await store.governor.ages_ms([DEFAULT_QUEUE])
            purged = await store.governor.purge(DEFAULT_QUEUE, limit=5)

            assert ages_ms[0] > 0
            assert (purged, (await counts(store)).depth) == (5, 1)

    async def test_who_waits_hears_of_a_job_of_another_process(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as one, opened(server.url) as other:
            wait = asyncio.create_task(other.wait_for_ready([DEFAULT_QUEUE], timeout_s=3_600))
            await until(lambda: bool(other.calls_under_way))
            await enqueue(one, job())

            async with asyncio.timeout(10):
                await wait

    async def test_a_holder_hears_of_a_cancel_in_another_process(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as one, opened(server.url) as other:
            assert isinstance(one, TellsOfCancels)
            heard: list[JobId] = []
            also_heard: list[JobId] = []
            one.hear_cancels(heard.append)
            one.hear_cancels(also_heard.append)
            done, running = await given_running(one, job()), await given_running(one, job())
            waiting = job()
            await enqueue(one, waiting)
            await one.settle([Complete(lease_of(done))])

            await other.cancel(done.id)
            await other.cancel(waiting.id)
            await other.cancel(running.id)
            await until(lambda: len(heard) == 1)
            await other.cancel(running.id)  # the first message may have been lost
            await until(lambda: len(heard) == 2)

            assert heard == also_heard == [running.id] * 2

    async def test_two_fleets_with_prefixes_of_their_own_do_not_meet(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url, prefix="gtqtest-a") as one, opened(server.url, prefix="gtqtest-b") as other:
            await enqueue(one, job())

            assert await walk(other) == []
            assert await reserve(other) == []


class TestLargeReservations:
    async def test_what_is_too_much_for_one_reply_stays_for_the_next(self, server: RedisServer, job: Jobs) -> None:
        payload = b'"' + b"x" * (RESERVE_BYTES // 5) + b'"'
        async with opened(server.url) as backend:
            given = [job(payload_json=payload) for _ in range(40)]
            for one in given:
                await enqueue(backend, one)

            taken: list[list[Job]] = []
            while leased := await reserve(backend):
                taken.append(leased)

            assert [len(leased) for leased in taken] == [5] * 8
            assert ids(one for leased in taken for one in leased) == ids(given)
            assert await counts(backend) == counted(running=40)

    async def test_a_job_whose_record_is_lost_is_passed_over(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as backend:
            given = [job() for _ in range(80)]
            await enqueue(backend, *given)
            with server.client() as client:
                for lost in (given[0], given[40], given[79]):
                    client.delete(f"{Keys('gtqtest').meta(0).removesuffix('meta')}b:{member(lost.id)}")

            leased = await reserve(backend)

            assert ids(leased) == ids(one for one in given if one not in (given[0], given[40], given[79]))
            assert await counts(backend) == counted(running=77)


class TestRepeats:
    async def test_a_repeated_reservation_brings_the_same_jobs(
        self, server: RedisServer, job: Jobs, clock: FakeClock
    ) -> None:
        backend = new_store(server, clock=clock, rng=Random(1))
        await backend.open()
        await enqueue(backend, job(), job(), job())
        first = await reserve(backend, limit=2)
        await backend.settle([Complete(lease_of(first[0]))])

        backend._lost_claims["worker-1", 0] = lease_of(first[0]).nonce  # as if the reply had been lost
        again = await reserve(backend, limit=1)
        rest = await reserve(backend, limit=9)
        await backend.close()

        assert again == [first[1]]
        assert len(rest) == 1

    async def test_fifty_repeats_of_one_call_store_one_job(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as one, opened(server.url) as other:
            given = job()

            async with asyncio.TaskGroup() as callers:
                calls = [callers.create_task(backend.enqueue([given])) for backend in (one, other) for _ in range(25)]

            replies = [reply for call in calls for reply in call.result()]
            assert replies.count(Enqueued.OK) == 1
            assert replies.count(Enqueued.DUPLICATE) == 49
            assert await counts(one) == counted(ready=1)

    async def test_scripts_that_the_server_forgot_are_sent_again(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as backend:
            await enqueue(backend, job())
            with server.client() as client:
                client.script_flush()

            [leased] = await reserve(backend)

            assert await backend.settle([Complete(lease_of(leased))]) == [Settled.OK]


class TestPartitions:
    async def test_jobs_of_every_partition_are_served_and_listed_in_order(
        self, server: RedisServer, job: Jobs, clock: FakeClock
    ) -> None:
        drawn = SpreadIds(Random(1), partitions=3)
        given: list[Job] = []
        for _ in range(12):
            given.append(job(job_id=drawn.draw(clock.now_ms())))
            drawn.turn()
            await clock.advance(0.001)

        async with opened(server.url, partitions=3) as backend:
            await enqueue(backend, *given)
            before = await counts(backend)
            listed = await walk(backend, limit=5)
            taken = await reserve(backend, limit=99)
            settled = await backend.settle([Complete(lease_of(one)) for one in taken])

            assert {partition_of(one.id) for one in given} == {0, 1, 2}
            assert before == counted(ready=12)
            assert listed == ids(reversed(given))
            assert sorted(ids(taken)) == ids(given)
            assert settled == [Settled.OK] * 12
            assert await counts(backend) == counted()

    async def test_jobs_of_every_partition_are_noted_and_expire(
        self, server: RedisServer, job: Jobs, clock: FakeClock
    ) -> None:
        drawn = SpreadIds(Random(1), partitions=3)
        backend = new_store(server, clock=clock, rng=Random(1), partitions=3)
        await backend.open()
        for _ in range(6):
            await enqueue(backend, job(job_id=drawn.draw(clock.now_ms()), schedule_s=5))
            drawn.turn()
        running = await reserve(backend, limit=3)
        notes = [Note(lease_of(one), progress=0.5) for one in running]
        noted = await backend.note([*notes, Note(Lease(running[0].id, "lost"), progress=1.0)])
        await clock.advance(6)

        some, rest = await backend.expire(limit=2), await backend.expire(limit=9)
        found = [await backend.get(one.id) for one in running]
        await backend.close()

        assert noted == [Extended.HELD] * 3 + [Extended.LOST]
        assert [one and one.trail.progress for one in found] == [0.5] * 3
        assert (len(some), len(rest)) == (2, 1)
        assert not {one.id for one in (*some, *rest)} & {one.id for one in running}

    async def test_jobs_of_every_partition_are_changed_narrowed_and_have_a_place(
        self, server: RedisServer, job: Jobs, clock: FakeClock
    ) -> None:
        drawn = SpreadIds(Random(1), partitions=3)
        backend = new_store(server, clock=clock, rng=Random(1), partitions=3)
        await backend.open()
        given: list[Job] = []
        for _ in range(6):
            given.append(job(job_id=drawn.draw(clock.now_ms())))
            drawn.turn()
            await clock.advance(1)
        await enqueue(backend, *given)

        last = await backend.standing(given[5])
        changed = [await backend.amend(one.id, DUE_NOW) for one in given]
        query = JobQuery(since_ms=given[1].created_at_ms, until_ms=given[4].created_at_ms)
        listed = await walk(backend, query, limit=2)
        await backend.close()

        assert last == Standing(ahead=5, is_exact=False)
        assert all(one is not None and one.is_amended for one in changed)
        assert listed == ids(reversed(given[1:4]))

    async def test_a_process_with_fewer_partitions_serves_those_of_another(
        self, server: RedisServer, job: Jobs, clock: FakeClock
    ) -> None:
        drawn = SpreadIds(Random(1), partitions=4)
        for _ in range(3):
            drawn.turn()
        in_the_last = job(job_id=drawn.draw(clock.now_ms()))
        async with opened(server.url, partitions=4) as wide, opened(server.url) as narrow:
            await enqueue(wide, in_the_last)

            assert ids(await reserve(narrow)) == [in_the_last.id]

    async def test_the_library_spreads_its_jobs(self, server: RedisServer, clock: FakeClock) -> None:
        async with TaskQ(new_store(server, clock=clock, rng=Random(1), partitions=4)) as app:
            jobs = [await app.enqueue("noop") for _ in range(8)]
            together = await app.enqueue_many([app.job("noop") for _ in range(5)])

            assert {partition_of(one.id) for one in jobs} == {0, 1, 2, 3}
            assert len({partition_of(one.id) for one in together}) == 1


class TestOutages:
    async def test_a_store_that_lost_its_jobs_is_noticed_and_made_usable(
        self, server: RedisServer, job: Jobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        losses: list[int] = []
        async with opened(server.url, partitions=2) as backend:
            assert isinstance(backend, TellsOfLosses)
            backend.hear_losses(losses.append)
            await backend.create_queue("mail")
            await enqueue(backend, job())
            with server.client() as client:
                client.flushall()

            await until(lambda: len(losses) == 2)

            assert sorted(losses) == [0, 1]
            assert caplog.text.count("lost its jobs") == 2
            given = job(queue="mail")
            assert await backend.enqueue([given]) == [Enqueued.OK]
            assert list(await backend.queues()) == [DEFAULT_QUEUE, "mail"]
            assert ids(await reserve(backend, "mail")) == [given.id]

    async def test_after_an_outage_leases_get_as_long_again(
        self, server: RedisServer, job: Jobs, clock: FakeClock
    ) -> None:
        layout = StoreLayout(key_prefix="gtqtest-grace", outage_grace_ms=30_000)
        backend = RedisBackend(server.url, clock=clock, rng=Random(1), layout=layout)
        await backend.open()
        await enqueue(backend, job())
        assert await backend.reap(limit=9, max_crashes=3) == []
        [leased] = await reserve(backend)

        await clock.advance(100)
        during_grace = await backend.reap(limit=9, max_crashes=3)
        await clock.advance(29.999)
        until_its_end = await backend.reap(limit=9, max_crashes=3)
        await clock.advance(0.001)
        after_it = await backend.reap(limit=9, max_crashes=3)
        await backend.close()

        assert (during_grace, until_its_end) == ([], [])
        assert ids(after_it) == [leased.id]

    async def test_a_full_store_refuses_new_jobs_and_lets_running_ones_end(
        self, server: RedisServer, job: Jobs
    ) -> None:
        async with opened(server.url) as backend:
            await backend.create_queue("mail")
            late = job(queue="mail", schedule_s=0.001)
            await enqueue(backend, job(), job(), late)
            server.config_set("maxmemory-policy", "noeviction")
            server.config_set("maxmemory", "1")

            with pytest.raises(StoreFullError) as refused:
                await backend.enqueue([job()])
            leased = await reserve(backend)
            extended = await backend.extend([lease_of(one) for one in leased], lease_ms=LEASE_MS)
            noted = await backend.note([Note(lease_of(one), checkpoint_json=b"7") for one in leased])
            while not (expired := await backend.expire(limit=9)):
                pass  # within a millisecond or two
            settled = await backend.settle([Complete(lease_of(one), b"7") for one in leased])
            server.config_set("maxmemory", "0")

            assert 5 <= refused.value.retry_after_s <= 30
            assert [reply.value for reply in extended] == ["held", "held"]
            assert noted == [Extended.HELD] * 2
            assert (ids(expired), settled) == ([late.id], [Settled.OK] * 2)
            assert await backend.enqueue([job()]) == [Enqueued.OK]

    async def test_a_store_that_does_not_answer_fails_an_enqueue_and_serves_when_it_is_back(
        self, server: RedisServer, job: Jobs
    ) -> None:
        async with opened(server.url) as backend:
            given = job()
            server.freeze()
            with pytest.raises(BackendUnavailableError):
                await backend.enqueue([given])
            was_reachable = backend.is_reachable
            server.thaw()

            assert not was_reachable
            assert await backend.enqueue([given]) in ([Enqueued.OK], [Enqueued.DUPLICATE])
            assert backend.is_reachable
            assert await counts(backend) == counted(ready=1)

    async def test_a_server_that_was_restarted_serves_again(self, server: RedisServer, job: Jobs) -> None:
        async with opened(server.url) as backend:
            await enqueue(backend, job())
            server.restart()

            assert await backend.enqueue([job()]) == [Enqueued.OK]


class TestCheck:
    async def test_a_server_as_it_comes_is_warned_about(self, server: RedisServer) -> None:
        server.config_set("maxmemory-policy", "allkeys-lru")

        async with opened(server.url) as backend:
            found = [finding.what for finding in await backend.check() if finding.severity == "warning"]

        assert any("maxmemory-policy is allkeys-lru" in what for what in found)
        assert any("append-only file is off" in what for what in found)

    async def test_a_server_set_up_for_jobs_passes(self) -> None:
        with running(appendonly="yes", appendfsync="always", maxmemory_policy="noeviction") as server:
            async with opened(server.url) as backend:
                findings = await backend.check()

        assert {finding.severity for finding in findings} == {"ok"}

    async def test_settings_that_may_not_be_read_are_no_obstacle(self) -> None:
        with running() as server:
            async with opened(url_of_user(server)) as backend:
                findings = await backend.check()

        assert any("maxmemory-policy" in finding.what for finding in findings)


class TestAccess:
    async def test_the_rights_that_are_documented_are_enough_for_the_way_of_a_job(
        self, server: RedisServer, job: Jobs
    ) -> None:
        async with opened(url_of_user(server)) as backend:
            given = job(delay_s=0)
            await enqueue(backend, given)
            [leased] = await reserve(backend)
            await backend.settle([Complete(lease_of(leased))])

            assert await walk(backend, JobQuery()) == [given.id]

    def test_they_are_no_more_than_that(self, server: RedisServer) -> None:
        with redis.Redis.from_url(url_of_user(server)) as client:
            for words in (
                "FLUSHALL",
                "KEYS *",
                "CONFIG SET maxmemory 1",
                "SCRIPT FLUSH",
                "GET another:key",
                "SHUTDOWN",
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*words.split())

    async def test_a_wrong_password_is_an_unreachable_store(self, caplog: pytest.LogCaptureFixture) -> None:
        with running(requirepass="right") as server, pytest.raises(BackendUnavailableError):
            async with opened(server.url.replace("redis://", "redis://:wr0ng@")):
                pass

        assert "wr0ng" not in caplog.text

    async def test_jobs_travel_through_tls(self, job: Jobs, tmp_path: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        with running() as server:
            async with tls_before(server, authority) as port:
                url = f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
                async with opened(url) as backend:
                    given = job()
                    await enqueue(backend, given)

                    assert ids(await reserve(backend)) == [given.id]

    async def test_a_certificate_of_nobody_we_trust_is_an_unreachable_store(self) -> None:
        with running() as server:
            async with tls_before(server, trustme.CA()) as port:
                with pytest.raises(BackendUnavailableError):
                    async with opened(f"rediss://localhost:{port}/0"):
                        pass


@asynccontextmanager
async def tls_before(server: RedisServer, authority: trustme.CA) -> AsyncIterator[int]:
    """Stand before a server as one that speaks TLS, which those from wheels do not; give the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_connection(HOST, server.port)
        async with asyncio.TaskGroup() as ways:
            ways.create_task(forward(reader, to_server[1]))
            ways.create_task(forward(to_server[0], writer))

    listening = await asyncio.start_server(serve, HOST, 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
