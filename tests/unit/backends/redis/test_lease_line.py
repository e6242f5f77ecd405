"""The lease line finds the server of each partition, and a server that fails harms no lease of another."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest
from redis.exceptions import AskError, MovedError

from gotaskq.backend import Extended
from gotaskq.backends.redis.keys import Keys
from gotaskq.backends.redis.lease_line import RedisLeaseLine
from gotaskq.backends.redis.scripts import Script, ScriptText
from gotaskq.backends.redis.slots import Place
from gotaskq.backends.redis.topology import read_url
from gotaskq.errors import BackendUnavailableError
from gotaskq.job import JobId, Lease

ONE: Place = ("one", 6379)
TWO: Place = ("two", 6379)
CLUSTER = "redis+cluster://one,two"
HELD = Extended.HELD

Serve: TypeAlias = Callable[[Place, int, bool], None]


class ScriptedLine(RedisLeaseLine):
    """A line to servers that are a function: it raises what they answer, or holds every lease."""

    def __init__(self, url: str, serve: Serve) -> None:
        script = ScriptText(Script.EXTEND, has_flags=True)
        super().__init__(read_url(url), Keys("p"), script=script, timeout_s=1.0, test_clock=None)
        self._serve = serve
        self.asked: list[tuple[str, int, bool]] = []

    def _evaluate(self, place: Place, partition: int, arguments: Sequence[str | int], *, is_asking: bool) -> bytes:
        self.asked.append((place[0], partition, is_asking))
        self._serve(place, partition, is_asking)
        return b"H" * (len(arguments) // 2)


def lease_in(partition: int) -> Lease:
    return Lease(JobId(partition << 16 | 1), "nonce")


LEASES = [lease_in(partition) for partition in range(4)]


def test_a_partition_is_asked_for_where_it_was_found() -> None:
    def serve(place: Place, partition: int, is_asking: bool) -> None:
        if partition == 1 and place == ONE:
            raise MovedError("1 two:6379")

    line = ScriptedLine(CLUSTER, serve)

    replies = [line.extend(LEASES[:2], lease_ms=1_000) for _ in range(2)]

    assert replies == [[HELD, HELD], [HELD, HELD]]
    assert line.asked == [
        ("one", 0, False),
        ("one", 1, False),
        ("two", 1, False),
        ("one", 0, False),
        ("two", 1, False),
    ]


def test_a_server_that_takes_a_slot_over_is_asked_as_it_wants_to_be() -> None:
    def serve(place: Place, partition: int, is_asking: bool) -> None:
        if not is_asking:
            raise AskError("1 two:6379")

    line = ScriptedLine(CLUSTER, serve)

    assert line.extend(LEASES[:1], lease_ms=1_000) == [HELD]
    assert line.asked == [("one", 0, False), ("two", 0, True)]


def test_a_redirection_without_a_name_means_the_server_that_sent_it() -> None:
    def serve(place: Place, partition: int, is_asking: bool) -> None:
        if place == ONE:
            raise MovedError("1 :7000")

    line = ScriptedLine(CLUSTER, serve)

    assert line.extend(LEASES[:1], lease_ms=1_000) == [HELD]


def test_a_partition_that_is_sent_round_and_round_is_given_up_on() -> None:
    def serve(place: Place, partition: int, is_asking: bool) -> None:
        raise MovedError("1 two:6379" if place == ONE else "1 one:6379")

    with pytest.raises(BackendUnavailableError, match="from server to server"):
        ScriptedLine(CLUSTER, serve).extend(LEASES[:1], lease_ms=1_000)


@pytest.mark.parametrize("url", [CLUSTER, "redis+cluster://one"])
def test_a_server_that_fails_is_waited_for_once_and_costs_no_lease_of_another(url: str) -> None:
    def serve(place: Place, partition: int, is_asking: bool) -> None:
        if partition % 2 and place == ONE:
            raise MovedError("1 two:6379")
        if place == TWO:
            raise TimeoutError

    line = ScriptedLine(url, serve)

    for _ in range(3):
        line.asked.clear()
        assert line.extend(LEASES, lease_ms=1_000)[::2] == [HELD, HELD]
        assert len([place for place, *_ in line.asked if place == "two"]) == 1


def test_the_next_search_begins_at_another_server() -> None:
    def serve(place: Place, partition: int, is_asking: bool) -> None:
        if place == ONE:
            raise ConnectionError("gone")

    line = ScriptedLine(CLUSTER, serve)

    with pytest.raises(BackendUnavailableError, match="ConnectionError: gone"):
        line.extend(LEASES[:1], lease_ms=1_000)
    assert line.extend(LEASES[:1], lease_ms=1_000) == [HELD]


def test_one_server_that_fails_is_asked_once_a_call() -> None:
    def serve(place: Place, partition: int, is_asking: bool) -> None:
        raise TimeoutError

    line = ScriptedLine("redis://one", serve)

    for _ in range(2):
        with pytest.raises(BackendUnavailableError):
            line.extend(LEASES, lease_ms=1_000)
    assert line.asked == [("one", 0, False)] * 2
