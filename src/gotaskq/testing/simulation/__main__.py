"""python -m gotaskq.testing.simulation: plays GoTaskQ's own workload, seed after seed."""

import argparse
import sys
from typing import Final

from gotaskq.testing.simulation.faults import ALL_FAULTS, Fault, parse_faults
from gotaskq.testing.simulation.simulation import Simulation, SimulationFailedError, Summary
from gotaskq.testing.simulation.workload import client, make_app

PROGRESS_EVERY: Final = 100


def main(arguments: list[str]) -> int:
    """Play what the command line asks for; 1 when a seed failed."""
    options = _parse(arguments)
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    simulation = Simulation(make_app, client=client, seeds=seeds, faults=options.faults)
    if options.history:
        print(simulation.play(seeds[0]).history.tail(sys.maxsize))  # noqa: T201 - what was asked for
    try:
        summary = simulation.run(progress=_progress)
    except SimulationFailedError as failure:
        print(failure)  # noqa: T201 - a command's output
        return 1
    print(summary)  # noqa: T201 - a command's output
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    words = ",".join(fault.value for fault in Fault)
    parser = argparse.ArgumentParser(prog="python -m gotaskq.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--faults", type=parse_faults, default=ALL_FAULTS, help=f"of {words}; default: all")
    parser.add_argument("--history", action="store_true", help="print everything the first seed did")
    return parser.parse_args(arguments)


def _progress(summary: Summary) -> None:
    if summary.seeds % PROGRESS_EVERY == 0:
        print(summary, file=sys.stderr)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
