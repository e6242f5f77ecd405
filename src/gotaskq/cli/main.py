"""The `gotaskq` command; each subcommand's module is imported when it is called."""

import logging
import sys
from importlib import import_module
from typing import Final

import click

from gotaskq.errors import BackendUnavailableError, ConfigError, StartError

COMMANDS: Final = {
    "config": "gotaskq.cli.settings",
    "dlq": "gotaskq.cli.dead_letters",
    "enqueue": "gotaskq.cli.enqueue",
    "health": "gotaskq.cli.health",
    "job": "gotaskq.cli.jobs",
    "queue": "gotaskq.cli.queues",
    "run": "gotaskq.cli.run",
    "token": "gotaskq.cli.token",
    "version": "gotaskq.cli.version",
    "worker": "gotaskq.cli.worker",
    "workers": "gotaskq.cli.workers",
}

logger = logging.getLogger(__name__)


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the subcommand, or None."""
        module = COMMANDS.get(cmd_name)
        command = getattr(import_module(module), "command", None) if module else None
        return command if isinstance(command, click.Command) else None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def gotaskq() -> None:
    """Serve a job queue over HTTP, run its jobs, and look at what it does."""


def main() -> None:
    """Run the command line; what an operator can mend is one line on stderr.

    The exit code is 2 for a setting that cannot be used, 1 for a store that is away, or what could not be opened.
    """
    try:
        gotaskq()
    except ConfigError as error:
        click.echo(f"gotaskq: {error}", err=True)
        sys.exit(2)
    except StartError as error:
        logger.error("start failed", exc_info=error.__cause__)  # noqa: TRY400 - with the stack of the program, not of ours
        click.echo(f"gotaskq: {error}", err=True)
        sys.exit(1)
    except BackendUnavailableError as error:
        click.echo(f"gotaskq: {str(error).rstrip('.')}; `gotaskq config --check` says more", err=True)
        sys.exit(1)
