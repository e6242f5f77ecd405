"""Limits and layout of a store: how much it keeps and for how long, and how processes that share it lay jobs out.

Handed to a backend when it is made. Invariant: plain data, with defaults that bound everything.
"""

import msgspec


class StoreLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a store keeps, and for how long; what is beyond goes oldest first."""

    max_queue_depth: int = 1_000_000  # waiting jobs a queue takes before it refuses more
    complete_job_ttl_ms: int = 300_000  # DONE and CANCELLED jobs can be looked up this long
    max_completed_jobs: int = 1_000_000  # bounds memory whatever the rate
    max_dead_jobs: int = 10_000
    dead_job_ttl_ms: int = 90 * 86_400_000
    idempotency_ttl_ms: int = 86_400_000  # a request sent again within this time makes nothing new
    max_idempotency_keys: int = (
        1_000_000  # in memory; beyond, requests with new ones are refused, and none is forgotten
    )


class StoreLayout(msgspec.Struct, frozen=True, kw_only=True):
    """How a store that several processes share lays its jobs out, and how patient it is with leases after an outage."""

    key_prefix: str = "gotaskq"  # two fleets with different prefixes share a server and nothing else
    partitions: int = 1  # one is enough until one core of the store is the limit; at most 64
    outage_grace_ms: int = 30_000  # after an outage longer than this, leases get as long again before they lapse
