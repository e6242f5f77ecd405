"""CPU-bound handlers in supervised child processes: `executor` is what an app holds, `supervisor` minds one child.

A child imports `child`, `pipe` and `inside` only. So nothing is imported here: it would cost every child its start.
"""
