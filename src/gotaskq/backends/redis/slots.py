"""Which master of a Cluster serves which slots, as one of its servers says.

Used by the locator. One command on a connection that is closed again: redis-py's client of a Cluster learns all about
it, every command's keys too, and an outage of a few seconds in which it asked again and again left 40 MB behind.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias, cast

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

Place: TypeAlias = tuple[str, int]  # host and port
Options: TypeAlias = dict[str, Any]

FAILURES: Final = (RedisError, OSError)


class SlotMap:
    """The places of all slots, asked for again when told to."""

    def __init__(self, hosts: Sequence[Place], options: Options) -> None:
        """Begin with these servers; `options` are how redis-py's clients connect to one."""
        self._hosts = hosts
        self._options = options
        self._firsts: list[int] = []  # the first slot of each range, ascending
        self._ranges: list[tuple[int, Place]] = []  # its last slot, and who serves it
        self.is_out_of_date = True

    async def refresh(self) -> None:
        """Ask the servers in turn, those that were known last too; raises ConnectionError when none answers."""
        failures = []
        for place in dict.fromkeys((*self._hosts, *(place for _, place in self._ranges))):
            try:
                self._take(await self._ask(place), asked=place)
            except FAILURES as error:
                failures.append(f"{place[0]}:{place[1]} ({error})")
            else:
                return
        raise ConnectionError(f"no server of the Cluster answers: {', '.join(failures)}")

    def place_of(self, key: str) -> Place:
        """Return who serves a key; raises ConnectionError where nobody does."""
        slot = key_slot(key.encode())
        number = bisect_right(self._firsts, slot) - 1
        if number < 0 or slot > self._ranges[number][0]:
            raise ConnectionError(f"no server of the Cluster serves slot {slot}")
        return self._ranges[number][1]

    async def _ask(self, place: Place) -> Iterable[Sequence[Any]]:
        client = Redis(host=place[0], port=place[1], **self._options)
        try:
            reply: Any = await client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]  # as shipped
            return cast("Iterable[Sequence[Any]]", reply)
        finally:
            await client.aclose()

    def _take(self, reply: Iterable[Sequence[Any]], *, asked: Place) -> None:
        """Read ranges of slots, each with its first, its last, its master, and replicas we do not ask."""
        ranges = sorted((first, last, _place(master, asked)) for first, last, master, *_ in reply)
        if not ranges:
            raise ConnectionError("it serves no slot and knows of none")
        self._firsts = [first for first, _, _ in ranges]
        self._ranges = [(last, place) for _, last, place in ranges]
        self.is_out_of_date = False


def _place(master: Sequence[Any], asked: Place) -> Place:
    """Return a server's host and port; one that knows no name of its own is the one we asked."""
    host = (master[0] or b"").decode()
    return host if host not in ("", "?") else asked[0], int(master[1])
