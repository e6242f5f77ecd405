"""Real server processes, one for a test or one for a module, ended and checked whatever the test does."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from tests.integration.server_process import RUN, ServerProcess, running_server


class StartServer(Protocol):
    """Starts a server with options of the command line and an environment; `app` None is the built-in demo."""

    def __call__(
        self,
        *options: str,
        app: str | None = "apps:app",
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = RUN,
    ) -> ServerProcess: ...


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    with ExitStack() as servers:

        def start(
            *options: str,
            app: str | None = "apps:app",
            env: Mapping[str, str] | None = None,
            command: Sequence[str] = RUN,
        ) -> ServerProcess:
            return servers.enter_context(running_server(*options, app=app, env=env, folder=tmp_path, command=command))

        yield start
