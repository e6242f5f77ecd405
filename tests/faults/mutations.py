"""Breaks the code on purpose, one spot at a time in a copy, and sees whether the tests notice.

`make mutate` runs all and prints a table; a few run with every test run. A mutation that no test notices is a hole in
the tests. Invariant: what a mutation replaces stands in its file exactly once, so a change of the code cannot make a
mutation do nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("src", "tests", "pyproject.toml")
LIMIT_S: Final = 240
TEST_LIMIT_S: Final = 15  # for one test: broken code often hangs, and whole code takes a few seconds here
FAILED: Final = 1  # pytest's exit code for tests that failed; all others mean that it could not even run them

LUA: Final = "src/gotaskq/backends/redis/lua"
REDIS: Final = "src/gotaskq/backends/redis"
ENGINE: Final = "src/gotaskq/engine"
LOST: Final = "tests/faults/test_lost_calls.py"
NETWORK: Final = "tests/faults/test_network.py"
SERVER: Final = "tests/faults/test_server.py"
WORKERS: Final = "tests/faults/test_workers.py"
CONFORMANCE: Final = "tests/conformance/test_redis.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One fault put into the code, and the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS: Final = (
    Mutation(
        "settle whatever the nonce",
        f"{LUA}/settle.lua",
        "or lease.status ~= RUNNING or lease.nonce ~= nonce then",
        "or lease.status ~= RUNNING then",
        (CONFORMANCE, "-k", "valkey and settle or late"),
    ),
    Mutation(
        "leave settled jobs among the running",
        f"{LUA}/settle.lua",
        "call('ZREM', run, unpack(left))",
        "",
        (f"{LOST}::test_a_release",),
    ),
    Mutation(
        "count a settlement twice",
        f"{LUA}/settle.lua",
        "finished[#finished + 1] = id\n  count(counter, 1)",
        "finished[#finished + 1] = id\n  count(counter, 2)",
        (f"{LOST}::test_a_settlement", "-k", "noop"),
    ),
    Mutation(
        "leave the nonce to a holder whose lease ran out",
        f"{LUA}/reap.lua",
        "state.nonce, state.updated = '', now",
        "state.updated = now",
        (CONFORMANCE, "-k", "valkey and (lease or laps or late or reap)"),
    ),
    Mutation(
        "let leases lapse thirteen seconds late",
        f"{LUA}/reap.lua",
        "'(' .. now, 'LIMIT'",
        "'(' .. (now - 13000), 'LIMIT'",
        (WORKERS, "-k", "killed_worker_run"),
    ),
    Mutation(
        "forget a crash",
        f"{LUA}/reap.lua",
        "call('HINCRBY', counters, 'crash', 1)",
        "",
        (f"{LOST}::test_a_reaping",),
    ),
    Mutation(
        "know no outage",
        f"{LUA}/reap.lua",
        "if spared_until and now < tonumber(spared_until) then return rows end",
        "",
        ("tests/faults/test_outage_grace.py",),
    ),
    Mutation(
        "give other jobs for a repeated reservation",
        f"{LUA}/reserve.lua",
        "if claim and string.sub(claim",
        "if false and string.sub(claim",
        (f"{LOST}::test_a_reservation", "-k", "reply"),
    ),
    Mutation(
        "leave reserved jobs among the ready",
        f"{LUA}/reserve.lua",
        "if line.taken then call('ZREMRANGEBYRANK', ready_key(line.queue), 0, line.taken - 1) end",
        "",
        (f"{LOST}::test_an_enqueue",),
    ),
    Mutation(
        "lose the next job with each reservation",
        f"{LUA}/reserve.lua",
        "0, line.taken - 1)",
        "0, line.taken)",
        (CONFORMANCE, "-k", "valkey and limit_is_taken"),
    ),
    Mutation(
        "take all jobs of a reservation for new",
        f"{LUA}/reserve.lua",
        "if not text then  -- nothing",
        "if true then  -- nothing",
        (CONFORMANCE, "-k", "valkey and taken_together"),
    ),
    Mutation(
        "give jobs of a batch each other's results",
        f"{LUA}/settle.lua",
        "if result ~= '' then texts[id] = lease.done .. '\\0' .. result end",
        "if result ~= '' then lease.done = lease.done .. '\\0' .. result end",
        (CONFORMANCE, "-k", "valkey and own_result"),
    ),
    Mutation(
        "carry out both settlements of a job",
        f"{LUA}/settle.lua",
        "texts[id], changed[#changed + 1] = text, id",
        "texts[id], changed[#changed + 1] = texts[id], id",
        (CONFORMANCE, "-k", "valkey and two_settlements"),
    ),
    Mutation(
        "take a repeated enqueue for another job",
        f"{LUA}/enqueue.lua",
        "nonce_of(known) == nonce_of(record) and 'D' or 'C'",
        "'C'",
        (f"{LOST}::test_an_enqueue", "-k", "reply"),
    ),
    Mutation(
        "take another job for a repeated enqueue",
        f"{LUA}/enqueue.lua",
        "nonce_of(known) == nonce_of(record) and 'D' or 'C'",
        "'D'",
        ("tests/faults/test_callers.py", "-k", "same_ids_store"),
    ),
    Mutation(
        "forget requests that came",
        f"{LUA}/_keys.lua",
        "if until_ms and tonumber(until_ms) > now then",
        "if false then",
        ("tests/faults/test_idempotency.py", "-k", "fifty"),
    ),
    Mutation(
        "know requests by their key alone",
        f"{LUA}/_keys.lua",
        "if fingerprint == keys.fingerprint then",
        "if true then",
        ("tests/faults/test_idempotency.py", "-k", "fifty"),
    ),
    Mutation(
        "keep the unique key of a job that has ended",
        f"{LUA}/_ends.lua",
        "call('HDEL', base .. 'uk', unique_key) end",
        "end",
        (f"{LOST}::test_an_enqueue_with_keys",),
    ),
    Mutation(
        "replay a job whose unique key is another's",
        f"{LUA}/_revive.lua",
        "call('HSETNX', base .. 'uk', unique_key, id) == 0",
        "call('HSETNX', base .. 'uk', unique_key, id) == 2",
        (CONFORMANCE, "-k", "valkey and replayed"),
    ),
    Mutation(
        "leave jobs out of the index",
        f"{LUA}/enqueue.lua",
        "call('ZADD', ids_index, unpack(stored))",
        "",
        (f"{LOST}::test_a_batch",),
    ),
    Mutation(
        "leave lone jobs out of the index",
        f"{LUA}/enqueue_one.lua",
        "call('ZADD', base .. 'ids', 0, id)",
        "",
        (f"{LOST}::test_an_enqueue",),
    ),
    Mutation(
        "store a lone job again with each repeat",
        f"{LUA}/enqueue_one.lua",
        ", record, 'NX')",
        ", record)",
        (f"{LOST}::test_an_enqueue", "-k", "reply"),
    ),
    Mutation(
        "let lone jobs fill a queue beyond its limit",
        f"{LUA}/enqueue_one.lua",
        ">= most then",
        ">= most + 1 then",
        (CONFORMANCE, "-k", "valkey and come_alone"),
    ),
    Mutation(
        "say nothing to workers that wait of a lone job",
        f"{LUA}/enqueue_one.lua",
        "if ready == 0 then call('PUBLISH'",
        "if false then call('PUBLISH'",
        ("tests/integration/test_redis_store.py", "-k", "valkey and who_waits_hears"),
    ),
    Mutation(
        "extend whatever the nonce",
        f"{LUA}/extend.lua",
        "if state.status == RUNNING and state.nonce == nonce then",
        "if state.status == RUNNING then",
        (CONFORMANCE, "-k", "valkey and (extend or lease)"),
    ),
    Mutation(
        "hear a note whatever the nonce",
        f"{LUA}/note.lua",
        "if state.status == RUNNING and state.nonce == nonce then",
        "if state.status == RUNNING then",
        (CONFORMANCE, "-k", "valkey and holder"),
    ),
    Mutation(
        "let a running job expire",
        f"{LUA}/reserve.lua",
        "if state.schedule_ms ~= '' then call('ZREM', patience, id) end",
        "",
        (CONFORMANCE, "-k", "valkey and expire"),
    ),
    Mutation(
        "wait for ever after a retry",
        f"{LUA}/settle.lua",
        "watch(id, state.due, state.schedule_ms)",
        "",
        (CONFORMANCE, "-k", "valkey and waits_for_its_retry"),
    ),
    Mutation(
        "keep four failed attempts",
        f"{LUA}/_ends.lua",
        "state.attempt % 5",
        "state.attempt % 4",
        (CONFORMANCE, "-k", "valkey and five"),
    ),
    Mutation(
        "leave promoted jobs among the scheduled",
        f"{LUA}/_prelude.lua",
        "call('ZREM', scheduled_key(queue), unpack(due))",
        "",
        (f"{LOST}::test_a_promotion", "-k", "reply"),
    ),
    Mutation(
        "leave cancelled jobs among the ready",
        f"{LUA}/cancel.lua",
        "call('ZREM', ready_key(queue), id)",
        "",
        (f"{LOST}::test_a_cancellation",),
    ),
    Mutation(
        "forget a replay that was done",
        f"{LUA}/replay.lua",
        "if call('HGET', trail_key(id), 'rn') == nonce then",
        "if false then",
        (f"{LOST}::test_a_replay", "-k", "reply"),
    ),
    Mutation(
        "draw another nonce for each enqueue of a job",
        f"{REDIS}/codec.py",
        "job.enqueue_nonce.encode()",
        "str(id(object())).encode() + __import__('os').urandom(4).hex().encode()",
        (f"{LOST}::test_fifty_repeats_of_one_enqueue_make_one_job",),
    ),
    Mutation(
        "give up where the server does not know a script",
        f"{REDIS}/connection.py",
        'if refused.code != "NOSCRIPT":',
        "if True:",
        (f"{LOST}::test_an_enqueue",),
    ),
    Mutation(
        "let one failure speak for a whole batch",
        f"{REDIS}/intake.py",
        "raise _failure_of(shares, answers)",
        "raise next(filter(None, (answered.exception() for answered in answers)))",
        (f"{LOST}::test_a_batch_for_good", "-k", "True and json"),
    ),
    Mutation(
        "say that a batch of unknown fate was refused",
        f"{ENGINE}/refusal.py",
        "if unknown:",
        "if False:",
        ("tests/unit/engine/test_unknown_fate.py",),
    ),
    Mutation(
        "take a read-only server for a bug",
        f"{REDIS}/connection.py",
        '"MISCONF", "READONLY", "NOREPLICAS"',
        '"MISCONF", "NOREPLICAS"',
        (SERVER, "-k", "refuses_writes and READONLY"),
    ),
    Mutation(
        "keep leases only while the loop runs",
        f"{ENGINE}/heartbeat.py",
        "if self._watch is not None and isinstance(self._backend, ExtendsFromThread):",
        "if self._watch is None and isinstance(self._backend, ExtendsFromThread):",
        ("tests/faults/test_heartbeat.py", "-k", "blocks"),
    ),
    Mutation(
        "let exclusive attempts run on",
        f"{ENGINE}/worker.py",
        "slot.stop(INTERRUPTED)\n        if any",
        "pass\n        if any",
        ("tests/scenarios/test_leases.py", "-k", "exclusive"),
    ),
    Mutation(
        "reap before the holders renew",
        f"{ENGINE}/maintenance.py",
        "if await self._heartbeat.renew_if_late():",
        "if False:",
        ("tests/scenarios/test_leases.py", "-k", "blocks"),
    ),
    Mutation(
        "keep no lease alive",
        f"{ENGINE}/heartbeat.py",
        "return list(dict.fromkeys(due))",
        "return list(dict.fromkeys(due))[:0]",
        (f"{LOST}::test_an_extension", "-k", "call"),
    ),
    Mutation(
        "write before reading when joining a store",
        f"{REDIS}/registry.py",
        "if not await self.knows(DEFAULT_QUEUE):",
        "if True:",
        (SERVER, "-k", "without_memory and valkey"),
    ),
    Mutation(
        "reserve from the wrong end",
        f"{LUA}/reserve.lua",
        "call('ZRANGE', ready_key(line.queue)",
        "call('ZREVRANGE', ready_key(line.queue)",
        ("tests/faults/test_order.py",),
    ),
    Mutation(
        "leave a socket behind at each reconnection",
        f"{REDIS}/wakeups.py",
        "            self.is_listening.clear()\n",
        "            self.is_listening.clear()\n"
        "            self.__dict__.setdefault('left', []).append(__import__('socket').socket())\n",
        (NETWORK, "-k", "connections_that_end and resets"),
    ),
    Mutation(
        "register no queue anew",
        f"{REDIS}/registry.py",
        "for name, is_paused in self.paused.items():",
        "for name, is_paused in {}.items():",
        (SERVER, "-k", "flush_is_like"),
    ),
)


# Nothing is broken here: the same tests must pass in a copy, or their failures say nothing.
CONTROL: Final = Mutation(
    "change nothing",
    f"{LUA}/settle.lua",
    "or lease.status ~= RUNNING or lease.nonce ~= nonce then",
    "or lease.status ~= RUNNING or lease.nonce ~= nonce then",
    (LOST, "tests/faults/test_outage_grace.py", CONFORMANCE),
)


def is_noticed(mutation: Mutation) -> bool:
    """Put the mutation into a copy of the code and say whether its tests fail there."""
    with tempfile.TemporaryDirectory(prefix="gotaskq-mutation-") as folder:
        copy = Path(folder)
        for name in COPIED:
            _copy(ROOT / name, copy / name)
        file = copy / mutation.file
        text = file.read_text()
        assert text.count(mutation.old) == 1, f"{mutation.name}: {mutation.old!r} must stand in {mutation.file} once"
        file.write_text(text.replace(mutation.old, mutation.new))
        ended = _run_tests(copy, mutation.tests)
    assert ended.returncode in (0, FAILED), f"{mutation.name}: the tests could not be run\n{ended.stdout}"
    return ended.returncode == FAILED


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _run_tests(folder: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_LIMIT_S}", *tests],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def main() -> int:
    """Run every mutation and print what the tests made of it; 1 when one went unnoticed."""
    began_s = time.monotonic()
    if is_noticed(CONTROL):
        print("the tests fail on code that is not broken; mend that first")
        return 1
    noticed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        trials = {pool.submit(is_noticed, mutation): mutation for mutation in MUTATIONS}
        for trial in as_completed(trials):
            mutation = trials[trial]
            noticed += trial.result()
            verdict = "noticed" if trial.result() else "MISSED"
            print(f"{verdict:8} {mutation.name:55} {' '.join(mutation.tests)}", flush=True)
    print(f"{noticed} of {len(MUTATIONS)} noticed in {time.monotonic() - began_s:.0f} s")
    return 0 if noticed == len(MUTATIONS) else 1


if __name__ == "__main__":
    sys.exit(main())
