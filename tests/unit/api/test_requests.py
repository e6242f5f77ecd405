"""Reading requests: bodies within the limit, ids and page limits that cannot be anything else."""

from collections.abc import Sequence

import pytest
from starlette.requests import Request

from gotaskq.api.requests import (
    MAX_PAGE,
    BodyTooLargeError,
    ContentTypeError,
    job_id_of,
    limit_of,
    read_body,
)
from gotaskq.api.schemas import MAX_BODY_BYTES
from gotaskq.errors import InvalidRequestError


class Wire:
    """A request as an ASGI server hands it over, in chunks; counts how many were asked for."""

    def __init__(
        self,
        chunks: Sequence[bytes | None] = (b"",),
        *,
        headers: dict[str, str] | None = None,
        query: str = "",
        path_params: dict[str, str] | None = None,
    ) -> None:
        self._chunks = list(chunks)
        self.received = 0
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/jobs",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
            "path_params": path_params or {},
        }
        self.request = Request(scope, self._receive)

    async def _receive(self) -> dict[str, object]:
        chunk = self._chunks[self.received]
        self.received += 1
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": self.received < len(self._chunks)}


# ---- bodies


@pytest.mark.parametrize("chunks", [[b""], [b"{}"], [b"{", b"", b"}"], [b"x" * MAX_BODY_BYTES]], ids=len)
async def test_a_body_is_put_together(chunks: list[bytes]) -> None:
    body = await read_body(Wire(chunks).request)

    assert body == b"".join(chunks)


async def test_a_body_that_is_announced_too_large_is_not_even_received() -> None:
    wire = Wire([b"x"], headers={"content-length": str(MAX_BODY_BYTES + 1)})

    with pytest.raises(BodyTooLargeError):
        await read_body(wire.request)

    assert wire.received == 0


async def test_a_body_that_grows_too_large_is_not_received_to_its_end() -> None:
    wire = Wire([b"x" * MAX_BODY_BYTES, b"x", b"never asked for"])

    with pytest.raises(BodyTooLargeError):
        await read_body(wire.request)

    assert wire.received == 2


@pytest.mark.parametrize("length", ["", "-1", "abc", "1e3", "\xb2"])
async def test_a_length_that_is_no_number_counts_for_nothing(length: str) -> None:
    wire = Wire([b"{}"], headers={"content-length": length})

    assert await read_body(wire.request) == b"{}"


async def test_a_length_of_five_thousand_digits_is_too_large() -> None:
    wire = Wire([b"{}"], headers={"content-length": "9" * 5_000})

    with pytest.raises(BodyTooLargeError):
        await read_body(wire.request)


async def test_a_client_that_hangs_up_is_told_its_body_was_incomplete() -> None:
    with pytest.raises(InvalidRequestError, match="incomplete"):
        await read_body(Wire([b"{", None]).request)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
        {"origin": "http://a", "content-type": "application/json"},
        {"origin": "http://a", "content-type": "Application/JSON ; charset=utf-8"},
        {"sec-fetch-site": "cross-site", "content-type": "application/json"},
    ],
)
async def test_what_a_page_elsewhere_cannot_send_unasked_is_read(headers: dict[str, str]) -> None:
    assert await read_body(Wire([b"{}"], headers=headers).request) == b"{}"


@pytest.mark.parametrize(
    "source", [{"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]
)
@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/json"]
)
async def test_what_a_page_elsewhere_can_send_unasked_is_refused(
    source: dict[str, str], content_type: str | None
) -> None:
    headers = source | ({} if content_type is None else {"content-type": content_type})

    with pytest.raises(ContentTypeError):
        await read_body(Wire([b"{}"], headers=headers).request)


# ---- ids and limits


@pytest.mark.parametrize(("text", "job_id"), [("0", 0), ("7301", 7301), ("007", 7), ("9" * 20, 10**20 - 1)])
def test_an_id_is_up_to_twenty_digits(text: str, job_id: int) -> None:
    assert job_id_of(Wire(path_params={"id": text}).request) == job_id


@pytest.mark.parametrize("text", ["", "9" * 21, "-1", "+1", "1.0", "1e3", "0x1", " 1", "1\n", "\uff11", "²", "1_0"])
def test_anything_else_is_no_id(text: str) -> None:
    assert job_id_of(Wire(path_params={"id": text}).request) is None


@pytest.mark.parametrize(("query", "limit"), [("", MAX_PAGE), ("limit=1", 1), ("limit=1000", 1_000), ("limit=007", 7)])
def test_a_limit_is_one_to_a_thousand(query: str, limit: int) -> None:
    assert limit_of(Wire(query=query).request) == limit


@pytest.mark.parametrize("text", ["", "0", "1001", "-1", "1.0", "abc", "%EF%BC%91", "%C2%B2", "9999999999", "1_0"])
def test_any_other_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="limit must be between 1 and 1000") as error:
        limit_of(Wire(query=f"limit={text}").request)

    assert error.value.field == "limit"
