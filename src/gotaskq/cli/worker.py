"""`gotaskq worker`: run jobs, and serve no API."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gotaskq.cli.options import process_options, run_process
from gotaskq.processes.member import Member

if TYPE_CHECKING:
    from gotaskq.api.server import Role


@click.command()
@process_options
@click.option(
    "--concurrency", "--workers", "num_workers", help="Run at most this many jobs at once.  [NUM_WORKERS, 10]"
)
@click.option("--burst", is_flag=True, help="End once no job is due.")
@click.option(
    "--health-port",
    type=click.IntRange(0, 65_535),
    help="Answer /healthz, /readyz and /metrics on this port of HOST; 0 takes a free one.",
)
def command(
    app: str | None,
    env_file: Path | None,
    member: str | None,
    health_port: int | None,
    *,
    burst: bool,
    **options: str | None,
) -> None:
    """Run jobs until SIGTERM or SIGINT; the store must be one that other processes share.

    APP names a TaskQ as module:attribute. Without it, a built-in app runs jobs of type `logger`.
    Each setting can come from the environment too, named in brackets, with or without GOTASKQ_ before it.
    """

    def role(member: Member | None) -> "Role":
        from gotaskq.api.server import Role

        return Role(with_api=False, health_port=health_port, burst=burst, member=member)

    flags = ["--burst"] if burst else []
    flags += [] if health_port is None else ["--health-port", str(health_port)]
    run_process(role, name="worker", app=app, env_file=env_file, member=member, flags=flags, options=options)
