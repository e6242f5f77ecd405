"""Other job queues of Python beside ours, on one Redis: `python -m benchmarks.peers`."""
