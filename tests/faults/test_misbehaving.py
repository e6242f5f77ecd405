"""Handlers that ignore every stop, and such that harm their process: they lose their job, and no other."""

import signal
from collections.abc import Sequence

import pytest
from tests.faults.checker import Allow
from tests.faults.misbehaving import CHILD_BYTES, gate_beside
from tests.faults.store import Store
from tests.faults.world import World, eventually
from tests.integration.metrics_page import sample
from tests.integration.server_process import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

APP = "tests.faults.misbehaving:app"
SLOTS = 4
STUBBORN = ["deaf", "stuck"]  # on the event loop, in a thread
SOUND = ("DONE", 1, 0, 0)


def fates(store: Store, ids: Sequence[int]) -> set[tuple[str, int, int, int]]:
    """Return how these jobs ended: status, attempts, retries, crashes."""
    jobs = store.jobs()
    return {(jobs[one].status, jobs[one].count("at"), jobs[one].count("rt"), jobs[one].count("cr")) for one in ids}


def abandoned(process: ServerProcess) -> float:
    return sample(process, "gotaskq_abandoned_handlers")


@pytest.mark.parametrize("job_type", STUBBORN)
def test_a_handler_that_would_not_end_loses_its_attempt_and_not_its_slot(world: World, job_type: str) -> None:
    worker = world.worker(app=APP, NUM_WORKERS=str(SLOTS))
    [stubborn] = world.post_many(worker, 1, job_type, payload={"failures": 1})
    eventually(lambda: world.store().jobs()[stubborn].status == "DONE")

    gated = world.post_many(worker, SLOTS, "gated")
    eventually(lambda: set(gated) <= world.log.running())
    gate_beside(world.log.path).touch()
    world.drain()

    zombies = abandoned(worker)
    line = worker.wait_for_line("handler_would_not_end")
    exit_code = worker.stop()
    store = world.check()
    assert fates(store, [stubborn]) == {("DONE", 2, 1, 0)}
    assert fates(store, gated) == {SOUND}
    assert (zombies, str(stubborn) in line, exit_code) == (1, True, 0)


@pytest.mark.parametrize("job_type", STUBBORN)
def test_a_worker_that_lost_half_its_slots_ends_and_another_does_the_rest(world: World, job_type: str) -> None:
    api, worn_out = world.api(), world.worker(app=APP, NUM_WORKERS=str(SLOTS))
    stubborn = world.post_many(worn_out, SLOTS // 2, job_type, payload={"failures": 1}, max_retries=1)
    eventually(lambda: abandoned(worn_out) == SLOTS // 2)
    was_running = worn_out.is_running

    stubborn += world.post_many(api, 1, job_type, payload={"failures": 1}, max_retries=1)
    worn_out.wait_for_line("worker_worn_out")
    others = world.post_many(api, 20)
    exit_code = worn_out.wait()
    world.worker(app=APP)
    world.note_loss(worn_out)
    world.drain()

    store = world.check()
    assert (was_running, exit_code) == (True, 1)
    assert fates(store, stubborn) == {("DONE", 2, 1, 0)}
    assert fates(store, others) == {SOUND}


@pytest.mark.parametrize("job_type", STUBBORN)
def test_a_handler_that_would_not_end_does_not_keep_its_process(world: World, job_type: str) -> None:
    api, worker = world.api(), world.worker(app=APP, SHUTDOWN_TIMEOUT="100ms")
    world.warm_up()
    [stubborn] = world.post_many(api, 1, f"{job_type}_for_good", payload={"failures": 1})
    eventually(lambda: stubborn in world.log.running())

    worker.signal(signal.SIGTERM)
    exit_code = worker.wait()

    given_back = world.check(Allow(unfinished=True)).jobs()[stubborn]
    assert exit_code == 0
    assert (given_back.status, given_back.count("rl"), given_back.count("rt"), given_back.count("cr")) == (
        "PENDING",
        1,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("job_type", "error"),
    [
        ("segfault", "ChildEndedError: child ended by signal 11 (SIGSEGV)"),
        ("killed", "ChildEndedError: child ended by signal 9 (SIGKILL)"),
        ("hungry", "MemoryError"),
    ],
)
def test_a_job_that_harms_its_child_is_the_only_one_to_pay(world: World, job_type: str, error: str) -> None:
    worker = world.worker(app=APP, NUM_WORKERS="2")
    others = world.post_many(worker, 10, "slow", payload={"ms": 50})
    harmful = world.post_many(worker, 6, job_type, payload={"bytes": 2 * CHILD_BYTES}, max_retries=1)
    others += world.post_many(worker, 10)
    world.drain()

    store = world.check()
    assert worker.is_running
    assert fates(store, harmful) == {("DEAD", 2, 1, 0)}
    assert all(store.jobs()[one].fields["er"].startswith(error) for one in harmful), store.jobs()[harmful[0]].fields
    assert fates(store, others) == {SOUND}


def test_a_job_that_killed_a_worker_kills_no_other_once_it_runs_alone(world: World) -> None:
    api = world.api()
    workers = [world.worker(app=APP), world.worker(app=APP)]
    others = world.post_many(api, 25, "slow", payload={"ms": 100})
    [lethal] = world.post_many(api, 1, "lethal", priority=10, max_retries=2)
    others += world.post_many(api, 25, "slow", payload={"ms": 20})
    [lost] = eventually(lambda: [worker for worker in workers if not worker.is_running])
    world.note_loss(lost)
    world.drain()

    store = world.check()
    dead = store.jobs()[lethal]
    assert sorted(worker.is_running for worker in workers) == [False, True]
    assert (dead.status, dead.fields["dr"], dead.count("cr"), dead.count("rt")) == ("DEAD", "retries_exhausted", 1, 2)
    assert dead.fields["er"] == "ChildEndedError: child ended by signal 9 (SIGKILL)"
    assert {store.jobs()[one].status for one in others} == {"DONE"}
    assert max(store.jobs()[one].count("cr") for one in others) <= 1
