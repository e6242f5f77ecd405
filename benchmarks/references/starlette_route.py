"""The usual stack: a Starlette route on uvicorn that does the same work per job as the bare responder.

Run as `python -m benchmarks.references.starlette_route --port 8002`.
"""

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.references.desk import Desk, encode_error
from benchmarks.references.serve import serve_with_uvicorn

JSON = "application/json"


def make_app() -> Starlette:
    """Build the application with one route, `POST /jobs`."""
    desk = Desk()

    async def submit(request: Request) -> Response:
        try:
            answer = desk.submit(await request.body())
        except msgspec.MsgspecError as error:
            return Response(encode_error(error), status_code=400, media_type=JSON)
        return Response(answer, status_code=201, media_type=JSON)

    return Starlette(routes=[Route("/jobs", submit, methods=["POST"])])


if __name__ == "__main__":
    serve_with_uvicorn(make_app(), description="A Starlette route on uvicorn.")
