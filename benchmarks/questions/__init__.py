"""The questions that `python -m benchmarks` can answer, one module each."""
