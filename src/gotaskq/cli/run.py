"""`gotaskq run`: serve HTTP and run workers."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gotaskq.cli.options import process_options, run_process
from gotaskq.processes.member import Member

if TYPE_CHECKING:
    from gotaskq.api.server import Role


@click.command()
@process_options
@click.option("--port", help="Listen on this port; 0 takes a free one.  [PORT, 8000]")
@click.option("--workers", "num_workers", help="Run at most this many jobs at once.  [NUM_WORKERS, 10]")
@click.option("--tokens-file", help="Let in only who sends one of these tokens.  [TOKENS_FILE]")
@click.option("--allowed-hosts", help="Answer to these names too, or to * any.  [ALLOWED_HOSTS]")
@click.option("--insecure-no-auth", is_flag=True, help="Listen to other machines without tokens.  [INSECURE_NO_AUTH]")
@click.option("--no-workers", is_flag=True, help="Serve HTTP only; run no jobs.")
def command(
    app: str | None,
    env_file: Path | None,
    member: str | None,
    *,
    no_workers: bool,
    insecure_no_auth: bool,
    **options: str | None,
) -> None:
    """Serve HTTP and run jobs until SIGTERM or SIGINT.

    APP names a TaskQ as module:attribute. Without it, a built-in app runs jobs of type `logger`.
    Each setting can come from the environment too, named in brackets, with or without GOTASKQ_ before it.
    """

    def role(member: Member | None) -> "Role":
        from gotaskq.api.server import Role

        return Role(with_workers=not no_workers, member=member)

    flags = ["--no-workers"] if no_workers else []
    if insecure_no_auth:
        flags.append("--insecure-no-auth")
        options["insecure_no_auth"] = "true"
    run_process(role, name="run", app=app, env_file=env_file, member=member, flags=flags, options=options)
