"""What the reference servers share as processes: the port argument, the ready line, uvicorn's settings.

Invariant: `listening on HOST:PORT` is printed once connections are taken, and SIGTERM ends the process.
"""

import argparse
import socket

import uvicorn
from starlette.types import ASGIApp

HOST = "127.0.0.1"
BACKLOG = 2048  # more than any load generator here opens at once


def listening_socket(description: str) -> socket.socket:
    """Read `--port` from the command line, listen there and say so."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    port: int = parser.parse_args().port
    listener = socket.create_server((HOST, port), backlog=BACKLOG)
    print(f"listening on {HOST}:{listener.getsockname()[1]}", flush=True)
    return listener


def serve_with_uvicorn(app: ASGIApp, *, description: str) -> None:
    """Run an ASGI app on uvicorn at its fastest: httptools, uvloop, no access log, no proxy headers."""
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listening_socket(description)])
