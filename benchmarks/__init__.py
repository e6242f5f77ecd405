"""Benchmarks: how fast the queue is, always beside a reference measured in the same run."""
