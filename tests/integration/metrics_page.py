"""The metrics page as a test reads it."""

from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from tests.integration.server_process import ServerProcess

DEPTH: Final = "gotaskq_queue_depth"


def sample(server: ServerProcess, name: str, **labels: str) -> float:
    """Return the sum of all samples of this name that have these labels."""
    return sum(
        value for found, its_labels, value in samples(server) if found == name and labels.items() <= its_labels.items()
    )


def samples(server: ServerProcess) -> list[tuple[str, dict[str, str], float]]:
    """Return every (name, labels, value); the parser refuses a page that is not in the exposition format."""
    page = server.get("/metrics").body.decode()
    return [
        (found.name, dict(found.labels), found.value)
        for family in text_string_to_metric_families(page)
        for found in family.samples
    ]
