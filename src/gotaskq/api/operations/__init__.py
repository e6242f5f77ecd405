"""Operations: what each route takes and answers, in OpenAPI's words; a test holds it against the routes.

One module an area of the API. Used by `openapi`, which adds the job types.
Invariant: plain data, the same for every app.
"""

from gotaskq.api.operations.actions import actions_operations
from gotaskq.api.operations.changes import change_operation, changes_operations
from gotaskq.api.operations.core import core_operations
from gotaskq.api.operations.dead_letters import dead_letters_operations
from gotaskq.api.operations.leases import leases_operations
from gotaskq.api.operations.listing import listing_operation
from gotaskq.api.operations.queues import queues_operations
from gotaskq.api.operations.watching import watching_operations
from gotaskq.api.operations.words import Schema
from gotaskq.api.operations.workers import workers_operations


def operations() -> dict[str, dict[str, Schema]]:
    """Return every path, with its methods and what they take and answer."""
    paths = {
        **core_operations(),
        **changes_operations(),
        **actions_operations(),
        **dead_letters_operations(),
        **leases_operations(),
        **queues_operations(),
        **watching_operations(),
        **workers_operations(),
    }
    paths["/jobs"]["get"] = listing_operation()  # routes that areas share
    paths["/jobs/{id}"]["patch"] = change_operation()
    return paths
