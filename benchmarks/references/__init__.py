"""Servers to compare with: the best one Python core can do, and a usual stack doing the same work."""
