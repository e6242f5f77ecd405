"""The app of a worker from a later release: the same handlers, and scripts with other digests."""

from tests.faults.handlers import app

from gotaskq.backends.redis import scripts

__all__ = ["app"]

read = scripts._read
scripts._read = lambda name: f"-- of the next release\n{read(name)}" if name == "_prelude" else read(name)
