"""How rules are written: readable by later and by earlier versions."""

import pytest
from tests.unit.engine.jobs import pending

from gotaskq.backends.redis.governor import read_rules, spell_limits, spell_retention
from gotaskq.queue_rules import QueueRules


def test_rules_are_read_by_queue() -> None:
    fields = {b"mail max_depth": b"7", b"mail is_draining": b"1", b"bulk ordering": b"fifo", b"mail max_retries": b"0"}

    assert read_rules(fields) == {
        "mail": QueueRules(max_depth=7, is_draining=True, max_retries=0),
        "bulk": QueueRules(ordering="fifo"),
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [(b"mail shed", b"oldest"), (b"mail ordering", b"lifo"), (b"mail max_depth", b"many"), (b"mail", b"1")],
)
def test_what_a_later_version_wrote_is_passed_over(field: bytes, value: bytes) -> None:
    assert read_rules({field: value}) == {}
    assert read_rules({field: value, b"mail rate_limit": b"5"}) == {"mail": QueueRules(rate_limit=5)}


def test_limits_are_spelled_for_the_queues_of_a_call_that_have_their_own() -> None:
    rules = {"mail": QueueRules(max_depth=7), "bulk": QueueRules(max_depth=9), "slow": QueueRules(rate_limit=1)}
    jobs = [pending(queue=queue) for queue in ("slow", "mail", "mail", "default")]

    assert spell_limits(100, rules, jobs, partitions=4) == "100 mail 7 slow 100/0.250000"
    assert spell_limits(100, {}, jobs, partitions=4) == 100


def test_times_are_spelled_for_all_queues_that_have_their_own() -> None:
    rules = {
        "mail": QueueRules(complete_job_ttl_ms=60_000),
        "bulk": QueueRules(complete_job_ttl_ms=5_000, dead_job_ttl_ms=7_000),
        "slow": QueueRules(rate_limit=1),
    }

    assert spell_retention(100, rules, "complete_job_ttl_ms") == "100 bulk=5000 mail=60000"
    assert spell_retention(100, rules, "dead_job_ttl_ms") == "100 bulk=7000"
    assert spell_retention(100, {"slow": rules["slow"]}, "dead_job_ttl_ms") == 100
