"""Runs one workload: `python -m benchmarks.workloads MODULE FUNCTION '{"jobs": 1000}'` prints its figures as JSON."""

import json
import sys
from importlib import import_module


def main() -> None:
    """Run the workload that the command line names."""
    module, function, arguments = sys.argv[1:]
    figures = getattr(import_module(f"benchmarks.workloads.{module}"), function)(**json.loads(arguments))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
