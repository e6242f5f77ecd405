"""The fate of a call, by what the client raised."""

import pytest
from redis import exceptions as refusals

from gotaskq.backends.redis.connection import Fate, fate_of
from gotaskq.backends.redis.wire import RefusedError

FATES: dict[Fate, list[Exception]] = {
    Fate.PASSING: [
        RefusedError("LOADING Redis is loading the dataset in memory"),
        RefusedError("NOAUTH Authentication required."),
        RefusedError("WRONGPASS invalid username-password pair or user is disabled."),
        RefusedError("NOPERM this user has no permissions to run the 'evalsha' command"),
        RefusedError("READONLY You can't write against a read only replica."),
        RefusedError("CLUSTERDOWN The cluster is down"),
        RefusedError("TRYAGAIN Multiple keys request during rehashing of slot"),
        RefusedError("MOVED 3999 127.0.0.1:6381"),
        RefusedError("MISCONF Redis is configured to save RDB snapshots, but"),
        RefusedError("NOREPLICAS Not enough good replicas to write."),
        RefusedError("BUSY Redis is busy running a script."),
        RefusedError("MASTERDOWN Link with MASTER is down"),
        refusals.ConnectionError("no sentinel answers"),
        refusals.SlotNotCoveredError("Slot 1 not covered"),
        ConnectionResetError("reset"),
        TimeoutError(),
    ],
    Fate.FULL: [
        RefusedError("OOM command not allowed when used memory > 'maxmemory'."),
        RefusedError("ERR Error running script: -OOM command not allowed when used memory > 'maxmemory'."),
    ],
    Fate.BUG: [
        RefusedError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        RefusedError("ERR user_script:3: Script attempted to access nonexistent global variable 'x'"),
    ],
}


@pytest.mark.parametrize(("fate", "error"), [(fate, error) for fate, errors in FATES.items() for error in errors])
def test_the_fate_of_a_call(fate: Fate, error: Exception) -> None:
    assert fate_of(error) is fate
