"""What stands between Starlette and the endpoints of every area: answers out, refusals for errors of ours.

Invariant: whatever an endpoint raises that is ours becomes a status and a JSON object.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from gotaskq.api.answers import BATCH_TOO_LARGE, JSON, TOO_LARGE, WRONG_CODING, WRONG_TYPE, Answer, refuse
from gotaskq.api.requests import MAX_BATCH_BYTES, BodyTooLargeError, ContentCodingError, ContentTypeError
from gotaskq.errors import GotaskqError


def endpoint(act: Callable[[Request], Awaitable[Answer | Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint of Starlette's that answers as `act` does, which may stream."""

    async def respond(request: Request) -> Response:
        try:
            answer = await act(request)
            return response_of(answer) if isinstance(answer, Answer) else answer
        except BodyTooLargeError as error:
            return response_of(BATCH_TOO_LARGE if error.max_bytes == MAX_BATCH_BYTES else TOO_LARGE)
        except ContentCodingError:
            return response_of(WRONG_CODING)
        except ContentTypeError:
            return response_of(WRONG_TYPE)
        except GotaskqError as error:
            return response_of(refuse(error))

    return respond


def response_of(answer: Answer) -> Response:
    """Return an answer as Starlette sends it."""
    return Response(answer.body, answer.status, dict(answer.headers), media_type=JSON)
