"""The command `python -m benchmarks.peers`: ours beside the other job queues of Python, on one Redis it starts itself.

Invariant: a library that cannot be installed or fails is reported and does not stop the others; no figure fails the
command.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.peers.measure import Extent, measure
from benchmarks.peers.peers import OURS, PEERS
from benchmarks.peers.table import format_libraries, rows_beside_each, rows_beside_the_fastest
from benchmarks.redis_server import VALKEY, redis_server
from benchmarks.report import RESULTS, format_table, save_results

FULL = Extent(runs=3, part=1.0, timed=100)
QUICK = Extent(runs=1, part=0.2, timed=30)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 if every library was measured, 1 if not, 2 for a name that is none."""
    known = {peer.name: peer for peer in PEERS}
    arguments = _parse(argv)
    unknown = [name for name in arguments.peers if name not in known]
    if unknown:
        print(f"benchmarks: no peer {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    # Leave by an exception, so that servers are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    peers = [known[name] for name in arguments.peers or known]
    extent = QUICK if arguments.quick else FULL
    with redis_server(arguments.redis) as redis:
        results = measure(redis, [OURS, *peers], extent)
        note = redis.note
    print(format_libraries(results, [OURS, *peers]))
    if OURS in results.failures:
        return 1  # nothing to hold the others against
    beside_the_fastest = rows_beside_the_fastest(results, peers, note)
    print(f"\n{format_table(beside_the_fastest)}")
    measured = {"peers": [*beside_the_fastest, *rows_beside_each(results, peers, note)]}
    path = save_results(measured, options=asdict(extent), label=arguments.label, folder=arguments.results)
    print(f"\nwritten to {path}", file=sys.stderr)
    return 1 if results.failures else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Ours beside other job queues.")
    add = parser.add_argument
    add("peers", nargs="*", metavar="peer", help=f"which to measure (all): {', '.join(peer.name for peer in PEERS)}")
    add("--quick", action="store_true", help="one run with a fifth of the jobs: enough to see a factor")
    add("--redis", default=VALKEY, help="valkey (default), redis6, or the path of a redis-server")
    add("--label", help="name in the results file instead of the commit")
    add("--results", type=Path, default=RESULTS, help="folder for the results (benchmarks/results)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
