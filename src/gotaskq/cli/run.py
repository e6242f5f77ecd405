"""`gotaskq run`: serve HTTP and run workers."""

import os
import sys
from importlib import import_module
from pathlib import Path

import click

from gotaskq.app import TaskQ
from gotaskq.config import Settings, load_settings
from gotaskq.errors import ConfigError
from gotaskq.logs import configure_logging, log_events


@click.command()
@click.argument("app", required=False)
@click.option("--host", help="Listen on this address.  [HOST, 127.0.0.1]")
@click.option("--port", help="Listen on this port; 0 takes a free one.  [PORT, 8000]")
@click.option("--workers", "num_workers", help="Run at most this many jobs at once.  [NUM_WORKERS, 10]")
@click.option("--backend", "backend_url", help="Keep jobs there.  [BACKEND_URL, memory://]")
@click.option(
    "--shutdown-timeout", "shutdown_timeout_ms", help="Let running jobs finish for so long.  [SHUTDOWN_TIMEOUT, 20s]"
)
@click.option("--log-level", help="debug, info, warning or error.  [LOG_LEVEL, info]")
@click.option("--log-format", help="text, json, or auto: text on a terminal.  [LOG_FORMAT, auto]")
@click.option(
    "--env-file", type=click.Path(path_type=Path), help="Read settings from a file too; the environment wins."
)
@click.option("--no-workers", is_flag=True, help="Serve HTTP only; run no jobs.")
def command(app: str | None, env_file: Path | None, *, no_workers: bool, **options: str | None) -> None:
    """Serve HTTP and run jobs until SIGTERM or SIGINT.

    APP names a TaskQ as module:attribute. Without it, a built-in app runs jobs of type `logger`.
    Each setting can come from the environment too, named in brackets, with or without GOTASKQ_ before it.
    """
    from gotaskq.api.server import serve

    settings = load_settings(os.environ, env_file=env_file, overrides=options).settings
    configure_logging(level=settings.log_level, style=settings.log_format)
    taskq = load_app(app, settings)
    log_events(taskq.observe)
    serve(taskq, with_workers=not no_workers, announce=lambda text: click.echo(text, err=True))


def load_app(name: str | None, settings: Settings) -> TaskQ:
    """Return the TaskQ that `module:attribute` names, with these settings; raises ConfigError when there is none."""
    if name is None:
        from gotaskq.demo import create_demo

        return create_demo(settings)
    module_name, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except (ModuleNotFoundError, TypeError, ValueError) as error:
        if not _is_about(error, module_name):
            raise  # the module is there; what it imports or does is at fault
        raise ConfigError("APP", name, f"there is no module {module_name!r} here or on the path") from error
    taskq = getattr(module, attribute or "app", None)
    if not isinstance(taskq, TaskQ):
        raise ConfigError("APP", name, f"{module_name} has no TaskQ named {attribute or 'app'}; write module:attribute")
    taskq.configure(settings)
    return taskq


def _is_about(error: Exception, module_name: str) -> bool:
    """Say whether the module itself, or a package it is in, is what cannot be found."""
    if isinstance(error, ModuleNotFoundError):
        return error.name is not None and f"{module_name}.".startswith(f"{error.name}.")
    return module_name == "" or module_name.startswith(".")  # what import_module refuses before it looks
