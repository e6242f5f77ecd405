"""`gotaskq health`: is a service up? For a container's health check; needs nothing that is not always there."""

import sys
import urllib.error
import urllib.request

import click

from gotaskq.cli.remote import DEFAULT_URL


@click.command(name="health")
@click.option("--url", envvar="GOTASKQ_URL", default=DEFAULT_URL, show_default=True, help="Where the service is.")
@click.option("--ready", is_flag=True, help="Ask whether it takes jobs, too.")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=2.0, show_default=True, help="Seconds it may take.")
def command(url: str, timeout: float, *, ready: bool) -> None:
    """Exit with 0 if the service is up, else with 1."""
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("--url must be http://… or https://…")
    try:
        asked = url.rstrip("/") + ("/readyz" if ready else "/healthz")
        with urllib.request.urlopen(asked, timeout=timeout):  # noqa: S310 - http or https, as was seen above
            click.echo("ok")
    except (OSError, urllib.error.URLError) as error:
        click.echo(f"gotaskq: {url} is not {'ready' if ready else 'up'}: {error}", err=True)
        sys.exit(1)
