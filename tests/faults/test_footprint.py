"""What processes hold: the check of it notices each thing that there is too much of."""

import asyncio
import re
from dataclasses import replace

import pytest
from tests.faults.footprint import SLACK, Footprint, excess, returning_what_it_took
from tests.faults.world import PLAIN, World
from tests.integration.http_client import request


def test_what_came_back_to_rest_is_no_excess() -> None:
    at_rest = Footprint(descriptors=17, threads=1, tasks=17, memory_kb=40_000)

    assert list(excess(replace(at_rest, memory_kb=40_000 + SLACK.memory_kb, tasks=3), at_rest)) == []


@pytest.mark.parametrize("name", ["descriptors", "threads", "tasks", "memory_kb"])
def test_each_thing_there_is_too_much_of_is_named(name: str) -> None:
    at_rest = Footprint(descriptors=17, threads=1, tasks=17, memory_kb=40_000)
    most: int = getattr(at_rest, name) + getattr(SLACK, name)

    found = list(excess(replace(at_rest, **{name: most + 1}), at_rest))

    assert found == [f"I10: {most + 1} {name}, at rest {getattr(at_rest, name)}"]


@pytest.mark.slow
def test_what_a_process_and_the_server_hold_is_read_from_outside(world: World) -> None:
    process = world.worker()
    world.warm_up()

    with process.connect() as connection, world.redis.client() as client:
        connection.send(request("GET", "/healthz"))
        connection.read(has_body=True)
        client.ping()
        with pytest.raises(AssertionError) as raised:
            world.fleet.check(world.masters, within_s=0)

    found = str(raised.value)
    assert re.search(r"I10: \d+ descriptors, at rest \d+ \(process \d+: tests.faults.handlers:app\)", found), found
    assert "connections to the store, at rest" in found
    world.check()


@pytest.mark.slow
async def test_what_an_app_leaves_behind_in_its_test_is_named(world: World) -> None:
    left = asyncio.Event()
    taking = returning_what_it_took(world.masters, within_s=0)

    await taking.__aenter__()
    task = asyncio.create_task(left.wait())
    with world.redis.client() as client:
        client.ping()
        with pytest.raises(AssertionError) as raised:
            await taking.__aexit__(None, None, None)
    left.set()
    await task

    assert str(raised.value).startswith("I10: more ['tasks', 'connections'] when closed")


@pytest.mark.slow
async def test_what_an_app_inside_the_test_could_not_handle_is_noticed(world: World) -> None:
    async def fail_unheard() -> None:
        raise ValueError("nobody waits for this")

    async with world.app():
        await asyncio.wait([asyncio.create_task(fail_unheard())])

    with pytest.raises(AssertionError, match="Task exception was never retrieved"):
        world.check()


@pytest.mark.slow
def test_a_worker_that_takes_a_place_is_held_to_a_spare_that_worked_and_ended(world: World) -> None:
    world.api()
    world.warm_up(spares=[PLAIN])
    later = world.worker()
    world.renew_leases()

    with later.connect() as connection:
        connection.send(request("GET", "/healthz"))
        connection.read(has_body=True)
        with pytest.raises(AssertionError, match=rf"I10: \d+ descriptors, at rest \d+ \(process {later.pid}:"):
            world.fleet.check(world.masters, within_s=0)
    world.check()
