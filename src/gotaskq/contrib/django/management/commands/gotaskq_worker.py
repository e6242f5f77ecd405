"""`manage.py gotaskq_worker`: run the tasks of this project until SIGTERM or SIGINT, then drain."""

import logging
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gotaskq.api.server import Role, serve
from gotaskq.contrib.django.backend import TaskBackend
from gotaskq.contrib.django.framework import task_backends
from gotaskq.errors import GotaskqError
from gotaskq.logs import log_events


class Command(BaseCommand):
    """The worker."""

    help = "Run the tasks of this project until SIGTERM or SIGINT; then finish what runs, and end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        add = parser.add_argument
        add("--backend", default="default", help="The name in TASKS (default).")
        add(
            "--queues", help="Run only tasks of these, by weight, such as mail:5,default; * for all there are (QUEUES)."
        )
        add("--concurrency", help="Run at most this many tasks at once, each in a thread (10).")
        add("--burst", action="store_true", help="End once no task is due.")
        add("--max-tasks", help="End after this many tasks, to be started anew.")
        add("--shutdown-timeout", help="Let running tasks finish for so long, such as 20s.")
        add("--health-port", type=int, help="Answer /healthz, /readyz and /metrics on this port of 127.0.0.1.")

    def handle(self, **options: Any) -> None:
        """Be a worker."""
        backend = task_backends[options["backend"]]
        if not isinstance(backend, TaskBackend):
            raise CommandError(f"TASKS[{options['backend']!r}] is no gotaskq.contrib.django.TaskBackend: {backend!r}")
        self._show_logs(options["verbosity"])
        role = Role(with_api=False, health_port=options["health_port"], burst=options["burst"])
        try:
            taskq = backend.make_worker(
                queues=options["queues"],
                num_workers=options["concurrency"],
                max_jobs=options["max_tasks"],
                shutdown_timeout=options["shutdown_timeout"],
            )
            log_events(taskq.observe)
            self.stdout.write(f"{len(taskq.job_types)} tasks: {', '.join(taskq.job_types)}")
            serve(taskq, role, announce=self.stdout.write)
        except GotaskqError as error:
            raise CommandError(str(error)) from error

    def _show_logs(self, verbosity: int) -> None:
        """Let warnings and more be seen where the project's LOGGING leaves our loggers without a place to write to."""
        logger = logging.getLogger("gotaskq")
        if not logger.hasHandlers():
            logger.addHandler(logging.StreamHandler(self.stderr))
            logger.setLevel({0: logging.ERROR, 1: logging.INFO}.get(verbosity, logging.DEBUG))
