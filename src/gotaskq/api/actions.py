"""Acts on many jobs: `POST /jobs/actions` begins one, or counts what it would meet."""

import re
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType
from starlette.requests import Request
from starlette.routing import Route

from gotaskq.api.answers import Answer
from gotaskq.api.endpoints import endpoint
from gotaskq.api.listing import FILTERS, filters_of
from gotaskq.api.operation_routes import answer_begun
from gotaskq.api.requests import read_body
from gotaskq.api.schemas import check_utf8, refuse_repeated_members, refused_member
from gotaskq.app import TaskQ
from gotaskq.bulk import Action
from gotaskq.errors import InvalidRequestError
from gotaskq.filters import JobFilter

_JOB_ID: Final = re.compile(r"[0-9]{1,20}", re.ASCII)


class FilterBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Which jobs, in the words of `GET /jobs`; `payload` is an object of dotted paths and JSON values."""

    status: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET
    since: str | UnsetType = UNSET
    until: str | UnsetType = UNSET
    q: str | UnsetType = UNSET
    payload: dict[str, Raw] = {}


class ActionBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of `POST /jobs/actions`."""

    action: Action
    ids: list[str] | UnsetType = UNSET
    filter: FilterBody | UnsetType = UNSET
    dry_run: bool = False


_decode = msgspec.json.Decoder(ActionBody).decode


class Actions:
    """The endpoints, of one TaskQ."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/jobs/actions", endpoint(self.act), methods=["POST"]),
        ]

    async def act(self, request: Request) -> Answer:
        """`POST /jobs/actions`: begin to retry, cancel or delete many jobs, or count them."""
        body = decode_action(await read_body(request))
        ids = None if body.ids is UNSET else [int(job_id) for job_id in body.ids]
        filters: JobFilter = {} if body.filter is UNSET else _filters(body.filter)
        if body.dry_run:
            count = await self._taskq.bulk.count(body.action, ids, **filters)
            answer: dict[str, object] = {"matched": count.matched}
            return Answer(200, msgspec.json.encode(answer | ({"more": True} if count.has_more else {})))
        operation = self._taskq.bulk.start(body.action, ids, **filters)
        return await answer_begun(self._taskq, operation, request)


def decode_action(body: bytes) -> ActionBody:
    """Return what a body asks for; raises InvalidRequestError that names the member to blame."""
    try:
        asked = _decode(body)
    except msgspec.ValidationError as error:
        raise refused_member(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("invalid json") from error
    check_utf8(body)
    refuse_repeated_members(body)
    if asked.ids is not UNSET and not all(map(_JOB_ID.fullmatch, asked.ids)):
        raise InvalidRequestError("ids must be those of jobs, as strings of digits", field="ids")
    return asked


def _filters(body: FilterBody) -> JobFilter:
    words = {name: value for name in FILTERS if (value := getattr(body, name)) is not UNSET}
    try:
        criteria = {path: bytes(value).decode() for path, value in body.payload.items()}
        return filters_of(words, criteria, is_json=True)
    except InvalidRequestError as error:
        raise InvalidRequestError(str(error), field=f"filter.{error.field}") from error
