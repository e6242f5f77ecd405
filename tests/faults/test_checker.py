"""The checker itself: it is content with a whole store, and names what is wrong with each kind of broken one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.checker import Allow, unhandled, violations
from tests.faults.handlers import Run
from tests.faults.history import History
from tests.faults.store import Partition, Store, StoredJob, StoreReader
from tests.redis_servers import running

WAITING, DELAYED, TAKEN, DONE, DEAD, CANCELLED = range(1, 7)
ENQUEUED_AT_MS = 1_000
DELAY_MS = 500
SCHEDULE_MS = 200


def stored(job_id: int, **fields: str) -> StoredJob:
    delay_ms, schedule_ms = (DELAY_MS, SCHEDULE_MS) if job_id == DELAYED else (0, 0)
    payload = b'{"key":"post-%d"}' % job_id
    return StoredJob(
        job_id, job_id * 10, ENQUEUED_AT_MS, "n", "noop", "default", 0, delay_ms, 3, payload, fields, schedule_ms
    )


def whole_store() -> Store:
    """Return one job of each status, each where it belongs."""
    jobs = [
        stored(WAITING),
        stored(DELAYED, s="P", ra=str(ENQUEUED_AT_MS + DELAY_MS)),
        stored(TAKEN, s="R", tk="t3", at="1"),
        stored(DONE, s="D", tk="", lt="t4", at="2", cr="1"),
        stored(DEAD, s="X", tk="", lt="t5", at="2", rt="1"),
        stored(CANCELLED, s="C"),
    ]
    places: dict[str, dict[int, float]] = {
        "rdy:default": {WAITING: WAITING * 10},
        "dly:default": {DELAYED: ENQUEUED_AT_MS + DELAY_MS},
        "run": {TAKEN: 9_000},
        "fin": {DONE: 1, CANCELLED: 2},
        "dlq": {DEAD: 3},
        "exp": {DELAYED: ENQUEUED_AT_MS + DELAY_MS + SCHEDULE_MS},
        "ids": dict.fromkeys(range(1, 7), 0.0),
    }
    counters = {"enq": 6, "done": 1, "dead": 1, "cancel": 1, "r:default": 1, "d:default": 1}
    jobs_by_id = {job.id: job for job in jobs}
    return Store({"{0}": Partition("{0}", jobs_by_id, places=places, counters=counters)}, {"default": "0"})


def whole_runs() -> list[Run]:
    return [
        Run(TAKEN, 1, "t3", 1, "noop", 10.0, 2_000),
        Run(DONE, 1, "lost", 1, "noop", 10.0, 2_000),
        Run(DONE, 2, "t4", 2, "noop", 11.0, 3_000, ended_s=12.0),
        Run(DEAD, 1, "t2", 1, "fail", 10.0, 2_000),
        Run(DEAD, 2, "t5", 1, "fail", 11.0, 3_000),
    ]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    history = History(tmp_path / "history.jsonl")
    for job_id in range(1, 7):
        history.ok(history.invoke("post"), job_id)
    yield history
    history.close()


def test_a_whole_store_breaks_nothing(history: History) -> None:
    found = violations(history, whole_store(), whole_runs(), allow=Allow(unfinished=True))

    assert found == []


def lose_job(part: Partition) -> None:
    del part.jobs[DONE], part.places["fin"][DONE], part.places["ids"][DONE]


def lose_body(part: Partition) -> None:
    part.orphans[DEAD] = part.jobs.pop(DEAD).fields


def put_twice(part: Partition) -> None:
    part.places["run"][WAITING] = 9_000


def put_nowhere(part: Partition) -> None:
    del part.places["rdy:default"][WAITING]


def put_in_wrong_place(part: Partition) -> None:
    del part.places["run"][TAKEN]
    part.places["rdy:default"][TAKEN] = TAKEN * 10


def put_in_wrong_queue(part: Partition) -> None:
    del part.places["rdy:default"][WAITING]
    part.places["rdy:other"] = {WAITING: WAITING * 10}


def rank_wrongly(part: Partition) -> None:
    part.places["rdy:default"][WAITING] = 11


def schedule_wrongly(part: Partition) -> None:
    part.places["dly:default"][DELAYED] = 1


def let_wait_for_ever(part: Partition) -> None:
    part.places["exp"].clear()


def let_a_running_job_expire(part: Partition) -> None:
    part.places["exp"][TAKEN] = 1


def name_a_stranger(part: Partition) -> None:
    part.places["dlq"][99] = 1


def keep_a_key(part: Partition) -> None:
    part.unique_keys["w:1"] = str(DONE)


def lose_a_key(part: Partition) -> None:
    part.jobs[TAKEN].fields["uq"] = "w:1"


def forget_in_index(part: Partition) -> None:
    del part.places["ids"][WAITING]


def index_a_stranger(part: Partition) -> None:
    part.places["ids"][99] = 0


def count_running_twice(part: Partition) -> None:
    part.counters["r:default"] = 2


def count_dead_not(part: Partition) -> None:
    del part.counters["d:default"]


def count_done_twice(part: Partition) -> None:
    part.counters["done"] = 2


def count_enqueued_twice(part: Partition) -> None:
    part.counters["enq"] = 7


def leave_a_lease(part: Partition) -> None:
    part.jobs[DONE].fields["tk"] = "t4"


def take_the_lease(part: Partition) -> None:
    part.jobs[TAKEN].fields["tk"] = ""


def complete_with_a_lost_lease(part: Partition) -> None:
    part.jobs[DONE].fields["lt"] = "lost"


def leave_a_key(part: Partition) -> None:
    part.unknown_keys.append("gotaskq:2:{0}:what")


def retry_too_often(part: Partition) -> None:
    part.jobs[DEAD].fields["rt"] = "4"


def forget_at_an_instant(part: Partition) -> None:
    part.places["own"] = {DONE: 9_000.0, TAKEN: 9_000.0}


def forget_a_crash(part: Partition) -> None:
    part.jobs[DONE].fields["cr"] = "0"


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (lose_job, "I1: job 4 (post-4) was accepted and is gone"),
        (lose_body, "I5: job 5 has state"),
        (put_twice, "I5: job 1 is PENDING and in ['rdy:default', 'run']"),
        (put_nowhere, "I5: job 1 is PENDING and in []"),
        (put_in_wrong_place, "I5: job 3 is RUNNING and in ['rdy:default']"),
        (put_in_wrong_queue, "I5: job 1 is PENDING and in ['rdy:other']"),
        (rank_wrongly, "I5: job 1 has score 11 in rdy:default; it should be 10"),
        (schedule_wrongly, "I5: job 2 has score 1 in dly:default; it should be 1500"),
        (let_wait_for_ever, "I5: job 2 is to expire at None; it should be 1700"),
        (let_a_running_job_expire, "I5: job 3 is to expire at 1; it should be None"),
        (name_a_stranger, "I5: job 99 is in ['dlq'] and has no body"),
        (forget_at_an_instant, "I5: job 3 is RUNNING and has an instant at which it is forgotten"),
        (keep_a_key, "I5: the unique key 'w:1' is kept for 4, which does not wait or run"),
        (lose_a_key, "I5: job 3 is RUNNING and its unique key 'w:1' is"),
        (forget_in_index, "I5: job 1 is missing from the index of ids"),
        (index_a_stranger, "I5: job 99 is in the index of ids and has no body"),
        (count_running_twice, "I6: counter r:default says 2; there are 1"),
        (count_dead_not, "I6: counter d:default says 0; there are 1"),
        (count_done_twice, "I6: counter done says 2; 1 jobs are DONE"),
        (count_enqueued_twice, "I6: counter enq says 7; there are 6"),
        (leave_a_lease, "I3: job 4 is DONE and still has the lease 't4'"),
        (take_the_lease, "I3: job 3 is RUNNING and nobody holds its lease"),
        (complete_with_a_lost_lease, "I3: job 4 is DONE under nonce 'lost', with which no handler ended"),
        (leave_a_key, "I5: unknown key gotaskq:2:{0}:what"),
        (retry_too_often, "I7: job 5 was retried 4 times; max_retries is 3"),
        (forget_a_crash, "I7: job 4 ran 2 times"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_broken_store_is_named(history: History, breaks: Callable[[Partition], None], says: str) -> None:
    store = whole_store()
    breaks(store.partitions["{0}"])

    found = violations(history, store, whole_runs(), allow=Allow(unfinished=True))

    assert any(line.startswith(says) for line in found), found


def test_a_job_that_has_not_ended_is_named(history: History) -> None:
    found = violations(history, whole_store(), whole_runs(), allow=Allow())

    assert [line.partition("has")[0] for line in found] == [f"I1: job {n} (post-{n}) " for n in (1, 2, 3)]


def test_jobs_nobody_asked_for_or_that_were_refused_or_came_twice_are_named(history: History) -> None:
    store = whole_store()
    jobs = store.partitions["{0}"].jobs
    history.fail(history.invoke("post"), "queue full")
    for key, job_id in ((b"stranger", 11), (b"post-7", 12), (b"post-1", 13)):
        jobs[job_id] = replace(jobs[WAITING], id=job_id, payload=b'{"key":"%b"}' % key)

    found = violations(history, store, whole_runs(), allow=Allow(unfinished=True))

    assert "I2: job 11 ('stranger') was never asked for" in found
    assert "I2: job 12 (post-7) was refused (queue full) and is stored" in found
    assert "I2: 2 jobs carry the key post-1" in found


def test_a_job_whose_call_was_never_answered_may_be_there(history: History) -> None:
    store = whole_store()
    key = history.invoke("post")
    history.lose(key, "connection reset")
    partition = store.partitions["{0}"]
    partition.jobs[7] = replace(partition.jobs[WAITING], id=7, rank=70, payload=b'{"key":"%b"}' % key.encode())
    partition.places["rdy:default"][7] = 70
    partition.places["ids"][7] = 0
    partition.counters["enq"] = 7

    assert violations(history, store, whole_runs(), allow=Allow(unfinished=True)) == []


def test_runs_at_once_early_or_twice_under_one_lease_are_named(history: History) -> None:
    store = whole_store()
    late, done, early = Run(DONE, 1, "lost", 1, "noop", 10.0, 2_000, ended_s=11.5), whole_runs()[2], 1_400
    twice = Run(TAKEN, 1, "t3", 1, "noop", 10.0, 2_000, starts=2)
    soon = Run(DELAYED, 1, "t9", 1, "noop", 10.0, early)

    found = violations(history, store, [late, done, twice, soon], allow=Allow(unfinished=True))

    assert "I4: job 4 began under t4 in 2 while lost ran in 1" in found
    assert "I7: the lease t3 of job 3 was run 2 times" in found
    assert "I7: job 2 ran 100 ms too early" in found


def test_a_request_that_made_two_jobs_is_named(history: History) -> None:
    history.ok("post-4", 5)

    found = violations(history, whole_store(), whole_runs(), allow=Allow(unfinished=True))

    assert found == ["I9: the request post-4 was answered with jobs [4, 5]"]


def test_a_traceback_is_unhandled() -> None:
    assert unhandled("all is well\nTraceback (most recent call last):\n") == ["I12: Traceback (most recent call last):"]


@pytest.mark.slow
def test_the_reader_reads_what_is_there() -> None:
    with running() as server, server.client() as client:
        base = "gotaskq:2:{0}:"
        first, second = f"{1:020d}", f"{2:020d}"
        client.set(f"{base}b:{first}", b'70\t1000\tn\tnoop\tmail\t3\t0\t5\tt9\ts20\x00{"a":"\t\x00"}')
        client.set(f"{base}s:{first}", "R\t\tt\t\t\t\t\t\t\t\t\t\t")
        client.hset(f"{base}t:{first}", mapping={"cr": "1"})
        client.set(f"{base}s:{second}", 'D\t\t\t\t\t\t\t\t\t\t\t\t\x00{"a":"\t"}')
        client.zadd(f"{base}run", {first: 9_000})
        client.zadd(f"{base}rdy:mail", {second: 1})
        client.hset(f"{base}st", "enq", 1)
        client.hset("gotaskq:2:queues", "mail", "1")
        client.hset(f"{base}uk", "w:1", first)
        client.set(f"{base}ik:d1", f"9000 {first} f1")
        client.set(f"{base}odd", "1")
        client.set("somebody:else", "1")

        store = StoreReader([client]).read()

    partition = store.partitions["{0}"]
    assert partition.jobs == {
        1: StoredJob(1, 70, 1000, "n", "noop", "mail", 3, 0, 5, b'{"a":"\t\x00"}', {"s": "R", "tk": "t", "cr": "1"}, 20)
    }
    assert partition.orphans == {2: {"s": "D", "re": '{"a":"\t"}'}}
    assert partition.places == {"run": {1: 9_000}, "rdy:mail": {2: 1}}
    assert (store.queues, partition.counters) == ({"mail": "1"}, {"enq": 1})
    assert (partition.unique_keys, partition.requests) == ({"w:1": first}, {"d1": first})
    assert partition.unknown_keys == [f"{base}odd"]
