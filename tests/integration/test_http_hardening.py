"""Hostile and odd HTTP against a real server, in both lanes: refused once, closed, and never a second request read."""

from collections.abc import Iterator

import pytest
from tests.integration.http_client import Connection, request
from tests.integration.metrics_page import DEPTH, sample
from tests.integration.server_process import ServerProcess, running_server

MEBIBYTE = 1 << 20
GOOD = b'{"type":"logger"}'
POST = request("POST", "/jobs", GOOD)
GET = request("GET", "/healthz")
CHUNKED = "POST /jobs HTTP/1.1|host: a|transfer-encoding: chunked||"


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast lane", "full way"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with running_server("--no-workers", "--log-format", "json", env={"FAST_LANE": request.param}) as server:
        yield server
        assert '"level": "error"' not in server.stderr


@pytest.fixture
def depth(server: ServerProcess) -> Iterator[None]:
    """Hold against the test that nothing was enqueued and the server is healthy."""
    before = sample(server, DEPTH)
    yield
    assert sample(server, DEPTH) == before
    assert server.get("/healthz").status == 200


def raw(text: str) -> bytes:
    """Return the bytes of a message; | stands for a line's end."""
    return text.replace("|", "\r\n").encode("latin-1")


def read_all(connection: Connection) -> list[int]:
    """Return the status of every answer until the server closes."""
    statuses = []
    while True:
        try:
            statuses.append(connection.read().status)
        except ConnectionError:
            return statuses


# ---- request smuggling

SMUGGLING = {
    "CL and TE": "POST /jobs HTTP/1.1|host: a|content-length: 4|transfer-encoding: chunked||0||",
    "TE and CL": "POST /jobs HTTP/1.1|host: a|transfer-encoding: chunked|content-length: 4||0||",
    "two CL": "POST /jobs HTTP/1.1|host: a|content-length: 0|content-length: 90||",
    "two equal CL": "POST /jobs HTTP/1.1|host: a|content-length: 0|content-length: 0||",
    "CL list": "POST /jobs HTTP/1.1|host: a|content-length: 0, 0||",
    "CL negative": "POST /jobs HTTP/1.1|host: a|content-length: -1||",
    "CL plus": "POST /jobs HTTP/1.1|host: a|content-length: +0||",
    "CL hex": "POST /jobs HTTP/1.1|host: a|content-length: 0x0||",
    "CL decimal": "POST /jobs HTTP/1.1|host: a|content-length: 0.0||",
    "CL with a space behind": "POST /jobs HTTP/1.1|host: a|content-length: 17 ||",
    "CL with a tab behind": "POST /jobs HTTP/1.1|host: a|content-length: 17\t||",
    "CL empty": "POST /jobs HTTP/1.1|host: a|content-length: ||",
    "CL huge": f"POST /jobs HTTP/1.1|host: a|content-length: {2**64}||",
    "CL very huge": f"POST /jobs HTTP/1.1|host: a|content-length: {'9' * 400}||",
    "CL large": f"POST /jobs HTTP/1.1|host: a|content-length: {2**63 - 1}||",
    "TE xchunked": "POST /jobs HTTP/1.1|host: a|transfer-encoding: xchunked||0||",
    "TE chunked, identity": "POST /jobs HTTP/1.1|host: a|transfer-encoding: chunked, identity||0||",
    "TE identity, chunked": "POST /jobs HTTP/1.1|host: a|transfer-encoding: identity, chunked||0||",
    "TE gzip": "POST /jobs HTTP/1.1|host: a|transfer-encoding: gzip||0||",
    "TE empty": "POST /jobs HTTP/1.1|host: a|transfer-encoding: ||0||",
    "TE quoted": 'POST /jobs HTTP/1.1|host: a|transfer-encoding: "chunked"||0||',
    "TE vertical tab": "POST /jobs HTTP/1.1|host: a|transfer-encoding: \x0bchunked||0||",
    "two TE": "POST /jobs HTTP/1.1|host: a|transfer-encoding: chunked|transfer-encoding: chunked||0||",
    "TE twice, second odd": "POST /jobs HTTP/1.1|host: a|transfer-encoding: chunked|transfer-encoding: x||0||",
    "TE in HTTP/1.0": "POST /jobs HTTP/1.0|host: a|connection: keep-alive|transfer-encoding: chunked||0||",
    "space before colon": "POST /jobs HTTP/1.1|host: a|content-length : 0||",
    "tab before colon": "POST /jobs HTTP/1.1|host: a|transfer-encoding\t: chunked||0||",
    "space before name": "POST /jobs HTTP/1.1| host: a|content-length: 0||",
    "obs-fold": "POST /jobs HTTP/1.1|host: a|x: 1| content-length: 90||",
    "obs-fold of TE": "POST /jobs HTTP/1.1|host: a|transfer-encoding:| chunked||0||",
    "bare LF": "POST /jobs HTTP/1.1\nhost: a\ncontent-length: 0\n\n",
    "bare LF in a header": "POST /jobs HTTP/1.1|host: a|x: 1\ncontent-length: 0||",
    "bare LF at the end": "POST /jobs HTTP/1.1|host: a|content-length: 0|\n",
    "bare CR": "POST /jobs HTTP/1.1|host: a|x: 1\rcontent-length: 90||",
    "NUL in a value": "POST /jobs HTTP/1.1|host: a|x: \x00|content-length: 0||",
    "NUL in a name": "POST /jobs HTTP/1.1|host: a|x\x00: 1|content-length: 0||",
    "NUL in the target": "POST /jobs\x00 HTTP/1.1|host: a|content-length: 0||",
    "no colon": "POST /jobs HTTP/1.1|host: a|content-length 0||",
    "empty name": "POST /jobs HTTP/1.1|host: a|: x|content-length: 0||",
    "no host": "POST /jobs HTTP/1.1|content-length: 0||",
    "two hosts": "POST /jobs HTTP/1.1|host: a|host: b|content-length: 0||",
    "two equal hosts": "POST /jobs HTTP/1.1|host: a|host: a|content-length: 0||",
    "HTTP/0.9": "GET /healthz||",
    "HTTP/1.2": "GET /healthz HTTP/1.2|host: a||",
    "HTTP/2.0": "PRI * HTTP/2.0||SM||",
    "HTTP/11.1": "GET /healthz HTTP/11.1|host: a||",
    "lower case protocol": "GET /healthz http/1.1|host: a||",
    "two spaces": "GET  /healthz HTTP/1.1 |host: a||",
    "CONNECT": "CONNECT a:80 HTTP/1.1|host: a:80||",
    "unknown method": "SMUGGLE /healthz HTTP/1.1|host: a||",
    "chunk size negative": CHUNKED + "-1|",
    "chunk size hex prefix": CHUNKED + "0x0||",
    "chunk size not hex": CHUNKED + "g||",
    "chunk size empty": CHUNKED + "||",
    "chunk size huge": CHUNKED + "1" * 17 + "|",
    "chunk size with a space": CHUNKED + " 0||",
    "chunk without its end": CHUNKED + "1|ab|0||",
    "chunk ends with LF": CHUNKED + "1|a\n0||",
    "chunk size ends with LF": CHUNKED + "1\na|0||",
    "chunk extension with LF": CHUNKED + "1;a\nb|a|0||",
    "chunk extension with NUL": CHUNKED + "1;a\x00b|a|0||",
    "trailer with LF": CHUNKED + "0|x: 1\ny: 2||",
}


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("text", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_two_parsers_could_read_differently_is_refused(server: ServerProcess, text: str) -> None:
    with server.connect() as connection:
        connection.send(raw(text) + POST)

        answer = connection.read()

        assert answer.status == 400
        assert answer.headers["connection"] == "close"
        assert list(answer.json) == ["error"]
        assert connection.is_at_end()


@pytest.mark.parametrize("text", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_went_before_a_refusal_is_answered(server: ServerProcess, text: str) -> None:
    before = sample(server, DEPTH)
    with server.connect() as connection:
        connection.send(POST + GET + raw(text) + POST)

        assert read_all(connection) == [201, 200, 400]

    assert sample(server, DEPTH) == before + 1


@pytest.mark.parametrize(
    "text",
    [
        "||POST /jobs HTTP/1.1|host: a|content-length: 17||",
        "POST http://a/jobs HTTP/1.1|host: a|content-length: 17||",
        "POST /jobs HTTP/1.1|host: a|content-length: 00017||",
        "POST /jobs HTTP/1.1|host: a|content-length:  17||",
        "POST /jobs HTTP/1.1|host: a|content-length: 17|upgrade: websocket|connection: upgrade||",
        "POST /jobs HTTP/1.1|host: a|content-length: 17|expect: something||",
    ],
)
def test_what_is_odd_but_clear_is_read_as_one_request(server: ServerProcess, text: str) -> None:
    with server.connect() as connection:
        connection.send(raw(text) + GOOD + GET)

        assert [connection.read().status, connection.read().status] == [201, 200]


def test_a_chunked_body_is_put_together(server: ServerProcess) -> None:
    with server.connect() as connection:
        connection.send(
            raw(CHUNKED) + b"5;ext=1\r\n" + GOOD[:5] + b"\r\nC\r\n" + GOOD[5:] + b"\r\n0\r\nx: y\r\n\r\n" + GET
        )

        assert [connection.read().status, connection.read().status] == [201, 200]


# ---- limits

LARGE = {
    "line": (request("GET", "/" + "a" * 4_096), 414),
    "line of a query": (request("GET", "/healthz?" + "a" * 4_096), 414),
    "one header": (request("GET", "/healthz", headers={"x": "a" * 8_192}), 431),
    "one header that does not end": (request("GET", "/healthz", headers={"x": "a" * 10_000})[:-4], 431),
    "all headers": (request("GET", "/healthz", headers={f"x{number}": "a" * 4_095 for number in range(4)}), 431),
    "count": (request("GET", "/healthz", headers={f"x{number}": "1" for number in range(64)}), 431),
    "count in a post": (request("POST", "/jobs", GOOD, headers={f"x{number}": "1" for number in range(62)}), 431),
}
ALLOWED = {
    "line": (request("GET", "/" + "a" * 4_095), 404),
    "one header": (request("GET", "/healthz", headers={"x": "a" * 8_191}), 200),
    "count": (request("GET", "/healthz", headers={f"x{number}": "1" for number in range(63)}), 200),
}


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize(("data", "status"), LARGE.values(), ids=LARGE.keys())
def test_a_head_beyond_a_limit_is_refused(server: ServerProcess, data: bytes, status: int) -> None:
    with server.connect() as connection:
        connection.send(data)

        answer = connection.read()

        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert connection.is_at_end()


@pytest.mark.parametrize(("data", "status"), ALLOWED.values(), ids=ALLOWED.keys())
def test_a_head_at_a_limit_is_served(server: ServerProcess, data: bytes, status: int) -> None:
    assert server.ask_raw(data).status == status


def test_a_body_at_the_limit_is_accepted(server: ServerProcess) -> None:
    body = GOOD + b" " * (MEBIBYTE - len(GOOD))

    assert server.post("/jobs", body).status == 201


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("path", ["/jobs", "/default/jobs"])
def test_an_announced_body_too_large_is_refused_before_it_comes(server: ServerProcess, path: str) -> None:
    with server.connect() as connection:
        connection.send(request("POST", path, b"", headers={"content-length": str(MEBIBYTE + 1)}))

        assert connection.read().status == 413
        assert connection.is_at_end()


# ---- Expect: 100-continue


@pytest.mark.parametrize("framing", [{"content-length": "17"}, {"transfer-encoding": "chunked"}])
def test_who_asks_first_is_told_to_go_on(server: ServerProcess, framing: dict[str, str]) -> None:
    with server.connect() as connection:
        connection.send(request("POST", "/jobs", b"", headers={"expect": "100-continue", **framing}))
        assert connection.read().status == 100

        connection.send(GOOD if "content-length" in framing else b"11\r\n%b\r\n0\r\n\r\n" % GOOD)

        assert connection.read().status == 201


@pytest.mark.usefixtures("depth")
def test_who_asks_first_with_too_much_is_not_told_to_go_on(server: ServerProcess) -> None:
    headers = {"expect": "100-continue", "content-length": str(MEBIBYTE + 1)}
    with server.connect() as connection:
        connection.send(request("POST", "/jobs", b"", headers=headers))

        assert connection.read().status == 413
        assert connection.is_at_end()


# ---- pipelining


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 64, 300])
def test_pipelined_requests_are_answered_in_order(server: ServerProcess, count: int) -> None:
    kinds = [
        (POST, 201),
        (GET, 200),
        (request("POST", "/jobs", b"{}"), 400),
        (request("GET", "/nothing"), 404),
        (request("POST", "/jobs", GOOD, headers={"te": "trailers"}), 201),
        (request("POST", "/no-such-queue/jobs", GOOD), 404),
        (request("PUT", "/jobs", GOOD), 405),
    ]
    chosen = [kinds[number * 5 % len(kinds)] for number in range(count)]
    with server.connect() as connection:
        connection.send(b"".join(data for data, _ in chosen))

        assert [connection.read().status for _ in chosen] == [status for _, status in chosen]


@pytest.mark.parametrize("cut", [1, len(POST) - len(GOOD), len(POST) - 1])
def test_who_leaves_midway_has_enqueued_what_was_whole(server: ServerProcess, cut: int) -> None:
    before = sample(server, DEPTH)
    with server.connect() as connection:
        connection.send(POST * 3)
        assert [connection.read().status for _ in range(3)] == [201] * 3
        connection.send(POST[:cut])

    assert sample(server, DEPTH) == before + 3


def test_who_leaves_without_reading_has_enqueued_no_more_than_was_sent(server: ServerProcess) -> None:
    before = sample(server, DEPTH)
    with server.connect() as connection:
        connection.send(POST * 64 + POST[:-1])

    assert before <= sample(server, DEPTH) <= before + 64
    assert server.get("/healthz").status == 200
