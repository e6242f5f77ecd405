"""The flow of a job, in reading order.

registry → admission → fetcher → worker → attempt → decision → settler; beside it maintenance, middleware and the bus.
"""
