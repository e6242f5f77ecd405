"""The type board: an ability a backend may have; what processes say of their job types, others read."""

from gotaskq.backend import Backend, SharesTypes, TypeBoard
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.suite import BackendMaker, ConformanceSuite


def board_of(backend: Backend) -> TypeBoard:
    assert isinstance(backend, SharesTypes)
    return backend.type_board


async def remembered(backend: Backend) -> set[bytes]:
    """Return the bodies on the board, each of which must be there once."""
    bodies = [notice.body for notice in await board_of(backend).read()]
    assert len(set(bodies)) == len(bodies)
    return set(bodies)


class SharesTypesConformance(ConformanceSuite):
    async def test_a_board_begins_empty(self, backend: Backend) -> None:
        await board_of(backend).publish([])

        assert await remembered(backend) == set()

    async def test_what_was_said_is_read_to_the_byte(self, backend: Backend) -> None:
        said = {b'{"type":"a"}', b"\x00\xff\r\n\t", "größe".encode(), b"x" * 70_000}

        await board_of(backend).publish([*said])

        assert await remembered(backend) == said
        assert await remembered(backend) == said  # what a reader keeps of it is no other

    async def test_many_are_said_and_read_at_once(self, backend: Backend) -> None:
        said = [b"%d" % number for number in range(300)]

        await board_of(backend).publish(said)

        assert await remembered(backend) == {*said}

    async def test_it_says_how_long_ago_each_was_said(self, backend: Backend, clock: MovableClock) -> None:
        await board_of(backend).publish([b"a"])
        await clock.advance(60)
        await board_of(backend).publish([b"b"])
        await clock.advance(1)

        ages = {notice.body: notice.age_ms for notice in await board_of(backend).read()}

        assert ages == {b"a": 61_000, b"b": 1_000}

    async def test_what_is_said_again_is_there_once_and_young(self, backend: Backend, clock: MovableClock) -> None:
        await board_of(backend).publish([b"a", b"b"])
        await clock.advance(60)

        await board_of(backend).publish([b"a", b"a"])

        ages = sorted((notice.body, notice.age_ms) for notice in await board_of(backend).read())
        assert ages == [(b"a", 0), (b"b", 60_000)]

    async def test_what_nobody_says_any_more_is_forgotten(
        self, backend_with: BackendMaker, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(type_ttl_ms=60_000))
        await board_of(backend).publish([b"old", b"kept"])
        await clock.advance(59.999)
        before = await remembered(backend)
        await board_of(backend).publish([b"kept"])
        await clock.advance(0.001)

        assert before == {b"old", b"kept"}
        assert await remembered(backend) == {b"kept"}
        await board_of(backend).publish([b"old"])
        assert await remembered(backend) == {b"old", b"kept"}

    async def test_of_too_many_those_said_longest_ago_go(self, backend_with: BackendMaker, clock: MovableClock) -> None:
        backend = await backend_with(StoreLimits(max_types=3))
        for body in (b"a", b"b", b"c"):
            await board_of(backend).publish([body])
            await clock.advance(1)
        await board_of(backend).publish([b"a"])
        await clock.advance(1)

        await board_of(backend).publish([b"d"])

        assert await remembered(backend) == {b"c", b"a", b"d"}

    async def test_jobs_do_not_mind(self, backend: Backend) -> None:
        await board_of(backend).publish([b"a"])

        assert [*await backend.queues()] == ["default"]
