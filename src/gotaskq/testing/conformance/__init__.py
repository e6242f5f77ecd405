"""The contracts of backends, executors and policies, as tests: who passes them can stand in for any other.

    class TestMyBackend(BackendConformance):
        async def make_backend(self, limits, *, clock, rng):
            return MyBackend(limits, clock=clock, rng=rng)

CoreBackendConformance is its first part. A backend that is `EnqueuesNow` inherits from EnqueuesNowConformance too, one
that is `KeepsBoards` from BoardsConformance, one that `SharesHappenings` from SharesHappeningsConformance, one
that is `TellsStanding` from StandingConformance, and one that
`GovernsQueues` from GovernorConformance.

    class TestMyExecutor(ExecutorConformance):
        handlers = DEF_HANDLERS  # of gotaskq.testing.handlers; ASYNC_HANDLERS for one that awaits them

        def make_executor(self, capacity):
            return MyExecutor(capacity)

    class TestMySelector(SelectorConformance):  # likewise OrderingConformance and RetryPolicyConformance
        def make_selector(self):
            return MySelector()

Needs pytest and pytest-asyncio with `asyncio_mode = "auto"`. A class for a real server also overrides the `clock`
fixture with one that moves the server's time.
"""

from typing import Final

import pytest

TOPICS: Final = (
    "amending",
    "boards",
    "cancelling",
    "dead_letters",
    "enqueue",
    "enqueue_now",
    "executors",
    "expiry",
    "filtering",
    "given",
    "governing",
    "happenings",
    "keys",
    "leases",
    "listing",
    "notes",
    "own_retention",
    "policies",
    "rates",
    "queues",
    "reserve",
    "retention",
    "reviving",
    "settle",
    "standing",
    "trail",
    "waiting",
)
pytest.register_assert_rewrite(*(f"{__name__}.{topic}" for topic in TOPICS))  # must come before they are imported

from gotaskq.testing.conformance.amending import AmendConformance  # noqa: E402
from gotaskq.testing.conformance.boards import BoardsConformance  # noqa: E402
from gotaskq.testing.conformance.cancelling import CancelConformance, CancelRequestedConformance  # noqa: E402
from gotaskq.testing.conformance.dead_letters import DeadRetentionConformance, ReplayConformance  # noqa: E402
from gotaskq.testing.conformance.enqueue import AtomicEnqueueConformance, EnqueueConformance  # noqa: E402
from gotaskq.testing.conformance.enqueue_now import EnqueuesNowConformance  # noqa: E402
from gotaskq.testing.conformance.executors import ExecutorConformance  # noqa: E402
from gotaskq.testing.conformance.expiry import AfterExpiryConformance, ExpiryConformance  # noqa: E402
from gotaskq.testing.conformance.filtering import FilterConformance  # noqa: E402
from gotaskq.testing.conformance.governing import GovernorConformance  # noqa: E402
from gotaskq.testing.conformance.happenings import SharesHappeningsConformance  # noqa: E402
from gotaskq.testing.conformance.keys import (  # noqa: E402
    AtomicKeysConformance,
    IdempotencyConformance,
    KeptOrRefusedConformance,
    UniqueConformance,
)
from gotaskq.testing.conformance.leases import (  # noqa: E402
    ExtendConformance,
    LateWorkerConformance,
    ReapConformance,
)
from gotaskq.testing.conformance.listing import DeadListingConformance, ListingConformance  # noqa: E402
from gotaskq.testing.conformance.notes import AfterNotesConformance, NoteConformance  # noqa: E402
from gotaskq.testing.conformance.policies import (  # noqa: E402
    Case,
    OrderingConformance,
    RetryPolicyConformance,
    SelectorConformance,
)
from gotaskq.testing.conformance.queues import (  # noqa: E402
    CountsConformance,
    PromoteConformance,
    QueuesConformance,
)
from gotaskq.testing.conformance.reserve import ReserveConformance, TurnsConformance  # noqa: E402
from gotaskq.testing.conformance.retention import (  # noqa: E402
    CompletedLimitConformance,
    CompletedRetentionConformance,
    DeleteConformance,
)
from gotaskq.testing.conformance.reviving import ReviveConformance, ReviveUniqueConformance  # noqa: E402
from gotaskq.testing.conformance.settle import FencingConformance, SettleConformance  # noqa: E402
from gotaskq.testing.conformance.standing import StandingConformance  # noqa: E402
from gotaskq.testing.conformance.trail import (  # noqa: E402
    AttemptsConformance,
    HeadersConformance,
    ResultConformance,
    TimeoutsConformance,
)
from gotaskq.testing.conformance.waiting import WaitingConformance  # noqa: E402

__all__ = [
    "BackendConformance",
    "BoardsConformance",
    "Case",
    "CoreBackendConformance",
    "EnqueuesNowConformance",
    "ExecutorConformance",
    "GovernorConformance",
    "OrderingConformance",
    "RetryPolicyConformance",
    "SelectorConformance",
    "SharesHappeningsConformance",
    "StandingConformance",
]


class CoreBackendConformance(
    EnqueueConformance,
    ReserveConformance,
    TurnsConformance,
    SettleConformance,
    FencingConformance,
    ResultConformance,
    AttemptsConformance,
    ExtendConformance,
    ReapConformance,
    LateWorkerConformance,
    CancelConformance,
    CancelRequestedConformance,
    QueuesConformance,
    CountsConformance,
    ReplayConformance,
    KeptOrRefusedConformance,
):
    """What no backend can do without: no job is lost, run by two at once, or settled twice.

    Beyond it are keys, atomic batches, amendments, pages, timeouts, headers, notes, retention and prompt waking:
    without them an app runs, and what stands on them does less or nothing, or is refused.
    """


class BackendConformance(
    CoreBackendConformance,
    AtomicEnqueueConformance,
    UniqueConformance,
    IdempotencyConformance,
    AtomicKeysConformance,
    TimeoutsConformance,
    HeadersConformance,
    NoteConformance,
    AfterNotesConformance,
    ExpiryConformance,
    AfterExpiryConformance,
    PromoteConformance,
    ListingConformance,
    DeadListingConformance,
    FilterConformance,
    DeadRetentionConformance,
    DeleteConformance,
    AmendConformance,
    ReviveConformance,
    ReviveUniqueConformance,
    CompletedRetentionConformance,
    CompletedLimitConformance,
    WaitingConformance,
):
    """Every sentence of the contract; subclass it and define `make_backend`."""
