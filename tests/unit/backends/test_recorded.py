"""The recorded memory backend: what its records say is what it stands by again."""

from random import Random

from gotaskq.backend import JobQuery
from gotaskq.backends.memory.recorded import RecordedMemory
from gotaskq.job import Status
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import Jobs, die, enqueue, ids, reserve


async def test_those_who_died_in_one_instant_keep_their_order(clock: FakeClock, rng: Random) -> None:
    store = RecordedMemory(clock=clock, rng=rng)
    await store.open()
    job = Jobs(clock, rng)
    await enqueue(store, job(), job(), job())
    first, second, third = await reserve(store)
    await die(store, second, third)
    await die(store, first)

    records = {key: record for key, record in store.take_changes().items() if record is not None}
    again = RecordedMemory(clock=clock, rng=rng)
    again.restore(sorted(records.items()))

    dead = await again.list_jobs(JobQuery(status=Status.DEAD), after=None, limit=9)
    assert ids(dead.jobs) == ids([first, third, second])
    assert again.take_changes() == {}


async def test_what_was_taken_in_vain_comes_before_what_has_changed_since(clock: FakeClock, rng: Random) -> None:
    store = RecordedMemory(clock=clock, rng=rng)
    await store.open()
    job = Jobs(clock, rng)
    older, newer = job(), job()
    await enqueue(store, older)
    taken = store.take_changes()
    await enqueue(store, newer)

    store.give_back(taken)

    assert list(store.take_changes()) == [f"job/{older.id}", f"job/{newer.id}"]
