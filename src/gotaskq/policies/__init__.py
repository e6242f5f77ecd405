"""Decisions as pure functions: when to retry, which queue is next, which job goes first."""
