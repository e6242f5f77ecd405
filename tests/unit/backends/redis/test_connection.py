"""The fate of a call, by what the client raised."""

import pytest
from redis import exceptions as refusals

from gotaskq.backends.redis.connection import Fate, fate_of

FATES: dict[Fate, list[Exception]] = {
    Fate.PASSING: [
        refusals.ConnectionError("Connection closed by server."),
        refusals.TimeoutError("Timeout reading from socket"),
        refusals.BusyLoadingError("Redis is loading the dataset in memory"),
        refusals.AuthenticationError("WRONGPASS invalid username-password pair"),
        refusals.NoPermissionError("this user has no permissions to run the 'evalsha' command"),
        refusals.ReadOnlyError("You can't write against a read only replica."),
        refusals.ClusterDownError("CLUSTERDOWN The cluster is down"),
        refusals.TryAgainError("TRYAGAIN Multiple keys request during rehashing of slot"),
        refusals.MovedError("3999 127.0.0.1:6381"),
        refusals.SlotNotCoveredError("Slot 1 not covered"),
        refusals.ResponseError("MISCONF Redis is configured to save RDB snapshots, but"),
        refusals.ResponseError("NOREPLICAS Not enough good replicas to write."),
        refusals.ResponseError("BUSY Redis is busy running a script."),
        refusals.ResponseError("MASTERDOWN Link with MASTER is down"),
        ConnectionResetError("reset"),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
    Fate.FULL: [
        refusals.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        refusals.ResponseError("OOM allow-oom flag is not set on the script, can not run it"),
    ],
    Fate.BUG: [
        refusals.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        refusals.ResponseError("ERR user_script:3: Script attempted to access nonexistent global variable 'x'"),
        RuntimeError("something else"),
    ],
}


@pytest.mark.parametrize(("fate", "error"), [(fate, error) for fate, errors in FATES.items() for error in errors])
def test_the_fate_of_a_call(fate: Fate, error: Exception) -> None:
    assert fate_of(error) is fate
