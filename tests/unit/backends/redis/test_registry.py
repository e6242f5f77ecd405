"""The registry: a queue is made once, and whoever made it hears so even when the first reply was lost."""

from random import Random
from typing import cast

import pytest

from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.keys import Keys
from gotaskq.backends.redis.registry import Registry


class Hashes:
    """A store of hashes that can lose its replies to HSETNX: the call is carried out, and sent again."""

    def __init__(self) -> None:
        self._hashes: dict[str, dict[str, bytes]] = {}
        self.is_losing_replies = False

    async def command(self, name: str, key: str, *words: str | int, patience_s: float = 5) -> object:
        field, *value = words
        fields = self._hashes.setdefault(key, {})
        if name == "HGET":
            return fields.get(str(field))
        assert name == "HSETNX"
        is_new = str(field) not in fields
        fields.setdefault(str(field), str(value[0]).encode())
        return 0 if self.is_losing_replies else int(is_new)


@pytest.fixture
def store() -> Hashes:
    return Hashes()


def registry_on(store: Hashes, rng: Random) -> Registry:
    return Registry(cast("Connection", store), Keys("gotaskq"), partitions=1, rng=rng)


async def test_a_queue_is_made_once(store: Hashes, rng: Random) -> None:
    registry = registry_on(store, rng)

    assert await registry.add("mail")
    assert not await registry.add("mail")


async def test_who_made_a_queue_hears_so_when_the_reply_was_lost(store: Hashes, rng: Random) -> None:
    store.is_losing_replies = True

    assert await registry_on(store, rng).add("mail")


async def test_a_queue_that_another_made_is_not_ours_though_a_reply_was_lost(store: Hashes, rng: Random) -> None:
    await registry_on(store, rng).add("mail")
    store.is_losing_replies = True

    assert not await registry_on(store, rng).add("mail")
