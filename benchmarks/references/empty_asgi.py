"""What ASGI on uvicorn costs alone: an app that reads nothing and answers with a body of the usual size.

Run as `python -m benchmarks.references.empty_asgi --port 8003`.
"""

from starlette.types import Message, Receive, Scope, Send

from benchmarks.references.desk import SAMPLE_BODY, Desk
from benchmarks.references.serve import serve_with_uvicorn

BODY = Desk().submit(SAMPLE_BODY)
START: Message = {
    "type": "http.response.start",
    "status": 201,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
END: Message = {"type": "http.response.body", "body": BODY}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 201 to anything."""
    await send(START)
    await send(END)


if __name__ == "__main__":
    serve_with_uvicorn(app, description="An empty ASGI app on uvicorn.")
