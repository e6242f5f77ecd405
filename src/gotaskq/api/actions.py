"""Acts on many jobs: `POST /jobs/actions` begins one, or counts what it would meet; `GET /operations/{id}` shows it."""

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType
from starlette.requests import Request
from starlette.routing import Route

from gotaskq.api.answers import Answer
from gotaskq.api.changes import refused_member
from gotaskq.api.endpoints import endpoint
from gotaskq.api.listing import FILTERS, filters_of
from gotaskq.api.requests import read_body
from gotaskq.api.schemas import check_utf8, encode_instant, refuse_repeated_members
from gotaskq.app import TaskQ
from gotaskq.bulk import Action, Operation
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
            Route("/operations/{id}", endpoint(self.look), methods=["GET"]),
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
        location = f"{request.scope.get('root_path', '')}/operations/{operation.id}"
        return Answer(202, encode_operation(operation), (("location", location),))

    async def look(self, request: Request) -> Answer:
        """`GET /operations/{id}`: how far it is."""
        return Answer(200, encode_operation(self._taskq.bulk.get(request.path_params["id"])))


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


def encode_operation(operation: Operation) -> bytes:
    """Return an operation as a JSON object; what is empty is left out, but for the counts."""
    more: dict[str, Any] = {
        "errors": [{"id": str(error.job_id), "error": error.error} for error in operation.errors],
        "error": operation.error,
        "finished_at": operation.finished_at_ms and Raw(encode_instant(operation.finished_at_ms)),
    }
    return msgspec.json.encode(
        {
            "id": operation.id,
            "action": operation.action,
            "status": operation.status,
            "matched": operation.matched,
            "done": operation.done,
            "failed": operation.failed,
            "started_at": Raw(encode_instant(operation.started_at_ms)),
            **{name: value for name, value in more.items() if value},
        }
    )


def _filters(body: FilterBody) -> JobFilter:
    words = {name: value for name in FILTERS if (value := getattr(body, name)) is not UNSET}
    try:
        criteria = {path: bytes(value).decode() for path, value in body.payload.items()}
        return filters_of(words, criteria, is_json=True)
    except InvalidRequestError as error:
        raise InvalidRequestError(str(error), field=f"filter.{error.field}") from error
