"""Requests that come again because nobody heard the answer make one job each (I9), whatever happened in between."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from tests.faults.checker import Allow
from tests.faults.footprint import returning_what_it_took
from tests.faults.world import PLAIN, WITHIN_S, World, keyed_request, let_pass
from tests.integration.http_client import Answer, Connection
from tests.integration.server_process import ServerProcess

from gotaskq.backends.redis import RedisBackend
from gotaskq.clock import SystemClock
from gotaskq.testing.conformance.given import Jobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STORM_S = 2.0


def hang_up(server: ServerProcess, data: bytes) -> None:
    """Send a request as a client does that has no patience: it is gone before the answer comes."""
    with Connection(server.address) as connection:
        connection.send(data)


def test_a_client_that_gave_up_waiting_and_sends_again_makes_one_job(world: World) -> None:
    apis = [world.api(), world.api()]
    world.warm_up(spares=[PLAIN])
    before = len(world.history.accepted)
    keys = [world.history.invoke("post") for _ in range(40)]

    for number, key in enumerate(keys):
        data = keyed_request(key)
        hang_up(apis[number % 2], data)
        answers = [api.ask_raw(data) for api in apis]
        assert {answer.status for answer in answers} == {201}
        for answer in answers:
            world.history.ok(key, int(answer.json["id"]))

    store = world.check(Allow(unfinished=True))
    assert (store.count("enq"), len(store.jobs())) == (before + 40, before + 40)


@pytest.mark.parametrize("part", ["call", "reply"])
def test_fifty_at_once_make_one_job_though_a_call_is_lost(world: World, part: str) -> None:
    apis = [world.api(by_proxy=True), world.api(by_proxy=True)]
    world.warm_up(spares=[PLAIN])
    before = len(world.history.accepted)
    key = world.history.invoke("post")
    loss = (world.proxy.lose_call if part == "call" else world.proxy.lose_reply)("enqueue", nth=1)

    with ThreadPoolExecutor(10) as pool:
        answers: list[Answer] = list(pool.map(lambda n: apis[n % 2].ask_raw(keyed_request(key)), range(50)))
    for answer in answers:
        world.history.ok(key, int(answer.json["id"]))
    other = apis[0].ask_raw(keyed_request(key, payload={"n": 1}))

    assert loss.happened.is_set()
    assert {answer.status for answer in answers} == {201}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 49
    assert (other.status, other.json["field"]) == (422, "Idempotency-Key")
    assert world.check(Allow(unfinished=True)).count("enq") == before + 1


def test_a_request_outlives_the_process_and_the_worker_that_had_it(world: World) -> None:
    apis, worker = [world.api()], world.worker()
    world.warm_up()
    before = len(world.history.accepted)
    ids = [world.insist(apis[0]) for _ in range(20)]
    world.drain()

    apis[0].kill()
    apis.append(world.api())
    again = [world.insist(apis[1], worker, times=4) for _ in range(20)]
    repeats = [apis[1].ask_raw(keyed_request(key)) for key in list(world.history.answers)[before : before + 20]]
    world.note_end()
    world.drain()

    assert [int(repeat.json["id"]) for repeat in repeats] == ids
    assert {repeat.json["status"] for repeat in repeats} == {"DONE"}
    assert len({*ids, *again}) == 40
    assert world.check().count("done") == before + 40


def test_callers_insist_while_connections_end_all_the_time(world: World) -> None:
    apis, worker = [world.api(by_proxy=True), world.api(by_proxy=True)], world.worker(by_proxy=True)
    world.warm_up()
    before = len(world.history.accepted)

    with ThreadPoolExecutor(3) as pool:
        insisting = [pool.submit(world.insist, *apis, times=3) for _ in range(60)]
        for _ in range(int(STORM_S / 0.05)):
            world.proxy.reset()
            let_pass(0.05)
    world.note_end()
    ids = [insists.result() for insists in insisting]
    world.drain()

    assert worker.is_running
    assert len(set(ids)) == 60
    assert world.check(Allow(overlap=True)).count("enq") == before + 60


async def test_of_many_backends_that_enqueue_a_unique_job_one_stores_it(world: World) -> None:
    clock = SystemClock()
    backends = [RedisBackend(world.proxy.url, clock=clock, rng=Random(n)) for n in range(5)]
    jobs = [Jobs(clock, Random(n))(unique_key="w:1", nonce=str(n)) for n in range(50)]
    loss = world.proxy.lose_reply("enqueue")

    async with returning_what_it_took(world.masters, within_s=WITHIN_S):
        for backend in backends:
            await backend.open()
        async with asyncio.TaskGroup() as group:
            for n, job in enumerate(jobs):
                group.create_task(backends[n % 5].enqueue([job]))
        for backend in backends:
            await backend.close()

    assert loss.happened.is_set()
    assert world.check(Allow(unfinished=True, strangers=True)).count("enq") == 1
