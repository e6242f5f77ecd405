"""Several processes as one: a supervisor that keeps them, and metrics that add up."""
