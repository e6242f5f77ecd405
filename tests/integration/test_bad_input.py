"""What must be refused: a clear 4xx, nothing enqueued, no 5xx, and a server as healthy as before with a quiet log."""

import json
from collections.abc import Iterator

import pytest
from tests.integration.http_client import Answer, request
from tests.integration.metrics_page import DEPTH, sample
from tests.integration.server_process import ServerProcess, running_server

MEBIBYTE = 1 << 20
GOOD = b'{"type":"logger"}'

INVALID_JSON = [
    b"",
    b" ",
    b"{",
    b"{]",
    b"type=logger",
    b"{'type':'logger'}",
    b'{"type":"logger"',
    b'{"type":"logger",}',
    b'{"type":"logger"} x',
    b'{"type":"logger"}{"type":"logger"}',
    b'{"type":"logger","payload":}',
    b'{"type":"logger","payload":[1,]}',
    b'{"type":"logger","payload":{"a":1,}}',
    b'{"type":"logger","payload":01}',
    b'{"type":"logger","payload":+1}',
    b'{"type":"logger","payload":.5}',
    b'{"type":"logger","payload":0x10}',
    b'{"type":"logger","payload":tru}',
    b'{"type":"logger","payload":NaN}',
    b'{"type":"logger","payload":[Infinity]}',
    b'{"type":"logger","payload":-Infinity}',
    b'{"type":"logger","payload":"\x01"}',
    b'{"type":"logger","payload":"a\nb"}',
    b'{"type":"logger","payload":"\\x"}',
    b'{"type":"logger","payload":"\\u12"}',
    b'{"type":"logger","payload":"\xff"}',
    b'{"type":"logger","payload":"\xc3("}',
    b'{"type":"logger","payload":"\xed\xa0\x80"}',
    b'{"type":"logger","payload":{"\xc0\xaf":1}}',
    b'{"type":"logger","unknown":"\xff"}',
    b'{"type":"log\xffger"}',
    b'{"type":"log\x01ger"}',
    b'{"type":"log\nger"}',
    b'{"type":"\\ud800"}',
    b'{"type":"logger","payload":"\\ud800"}',
    b'{"type":"logger","payload":["\\udc00\\ud800"]}',
    b'{"type":"logger","payload":{"\\udfff":1}}',
    b'{"type":"logger","delay":NaN}',
    b'{"type":"logger","priority":Infinity}',
    b'\xef\xbb\xbf{"type":"logger"}',
    '{"type":"logger"}'.encode("utf-16"),
    b'{"type":"logger","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"type":"logger","payload":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    b'{"type":"logger","unknown":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]
NO_OBJECTS = [b"null", b"[]", b"[" * 100_000, b'[{"type":"logger"}]', b'"logger"', b"5", b"true", b"1e400"]

NO_TYPES = [b"{}", b'{"type":null}', b'{"type":""}', b'{"payload":{"type":"logger"}}', b'{"Type":"logger"}']
BAD_TYPES: list[object] = [
    5,
    True,
    ["logger"],
    {"type": "logger"},
    " ",
    "log ger",
    " logger",
    "logger\n",
    "-logger",
    ".logger",
    "/etc/passwd",
    "../logger",
    "l" * 129,
    "größe",
    "log{ger}",
    "log\u0000ger",
    "log\u2028ger",
    "log'ger",
    'log"ger',
    "<script>",
]
BAD_PRIORITIES = ["-1", "11", "true", "false", "3.5", "3.0", "1e0", '"5"', "[]", "{}", str(10**30), "-" + "9" * 5_000]
BAD_DELAYS = ["-1", "-0.001", "31536001", "31536000.5", "true", '"1"', '"1h"', "[]", "{}", "1e9", "1e400", str(10**30)]
BAD_MAX_RETRIES = ["-1", "101", "true", "1.5", "5.0", '"5"', "[]", "{}", str(10**30)]
BAD_TIMEOUTS = ["0", "-0.0", "-1", "0.0009", "31536001", "true", '"1"', '"30s"', "[]", "{}", "1e400", str(10**30)]
BAD_MEMBERS = [
    *(("type", json.dumps(value)) for value in BAD_TYPES),
    *(("priority", value) for value in BAD_PRIORITIES),
    *(("delay", value) for value in BAD_DELAYS),
    *(("max_retries", value) for value in BAD_MAX_RETRIES),
    *(("timeout", value) for value in BAD_TIMEOUTS),
    *(("schedule_timeout", value) for value in BAD_TIMEOUTS),
    *(("queue", value) for value in ('""', '"a b"', '"ä"', '".."', '"v1"', f'"{"a" * 65}"', "5", "true", "[]")),
    *(("callback", value) for value in ('"https://a.example"', "{}", "[]", "5", "true", '{"on":["done"]}')),
    ("payload", "[" * 65 + "]" * 65),
    ("payload", '{"a":' * 65 + "1" + "}" * 65),
    ("payload", '[{"a":' * 33 + "1" + "}]" * 33),
]
REPEATED_MEMBERS = [
    (b'{"type":"a","type":"b"}', "type"),
    (b'{"type":"a","\\u0074ype":"b"}', "type"),
    (b'{"\\u0074ype":"a","type":"a"}', "type"),
    (b'{"type":"a","payload":1,"payload":2}', "payload"),
    (b'{"type":"a","payload":{"a":":"},"payload":"::::"}', "payload"),
    (b'{"type":"a","payload":"::::","payloa\\u0064":1}', "payload"),
    (b'{"type":"a","priority":1,"priority":1}', "priority"),
    (b'{"type":"a","delay":0,"delay":null}', "delay"),
    (b'{"type":"a","max_retries":null,"max_retries":null}', "max_retries"),
    (b'{"type":"a","timeout":1,"timeout":1}', "timeout"),
    (b'{"type":"a","timeout":null,"schedule_timeout":1,"timeout":2}', "timeout"),
    (b'{"type":"a","payload":"::::","schedule_timeout":1,"schedule\\u005ftimeout":1}', "schedule_timeout"),
    (b'{"type":"a","unknown":1,"unknown":2}', "unknown"),
    (b'{"type":null,"type":"a"}', "type"),
    (b'{"type":"a","callback":null,"callback":{"url":"https://a.example"}}', "callback"),
    (b'{"type":"a","callback":{"url":"https://a.example","url":"https://b.example"}}', "callback.url"),
    ('{"type":"a","é":1,"\\u00e9":2}'.encode(), "é"),
]

BAD_QUEUES = [
    "a%20b",
    "%C3%A4",
    "a" * 65,
    "%7Bx%7D",
    "a%0D%0Ab",
    "a:b",
    "*",
    "%00",
    "%FF",
    "v1",
    "..",
    "%2e%2E",
    ".",
]
TRAVERSALS = [
    "/../jobs/jobs",
    "/..%2f..%2fetc/jobs",
    "/queue/../jobs",
    "/a%2Fb/jobs",
    "//etc/passwd/jobs",
]
CROSS_SITE = [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]


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


def assert_refused(answer: Answer, status: int, *, field: str | None = None) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == (["error"] if field is None else ["error", "field"])
    assert answer.json.get("field") == field
    assert answer.json["error"].isprintable()
    assert len(answer.body) < 500


def short(value: object) -> str:
    return repr(value)[:40]


# ---- bodies


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("body", INVALID_JSON, ids=short)
def test_what_is_not_json_is_refused(server: ServerProcess, body: bytes) -> None:
    answer = server.post("/jobs", body)

    assert_refused(answer, 400)
    assert answer.json["error"] == "invalid json"


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("body", NO_OBJECTS, ids=short)
def test_json_that_is_no_object_is_refused(server: ServerProcess, body: bytes) -> None:
    answer = server.post("/jobs", body)

    assert_refused(answer, 400)
    assert answer.json["error"].startswith("invalid json")


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("body", NO_TYPES, ids=short)
def test_a_job_without_a_type_is_refused(server: ServerProcess, body: bytes) -> None:
    answer = server.post("/jobs", body)

    assert_refused(answer, 400, field="type")
    assert answer.json["error"] == "type is required"


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize(("member", "value"), BAD_MEMBERS, ids=short)
def test_a_member_outside_its_limits_is_named(server: ServerProcess, member: str, value: str) -> None:
    members = {"type": '"logger"'} | {member: value}
    body = "{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}"

    answer = server.post("/jobs", body.encode())

    assert_refused(answer, 400, field=member)
    if member == "priority":
        assert answer.json["error"] == "priority must be between 0 and 10"


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize(("body", "member"), REPEATED_MEMBERS, ids=short)
def test_a_member_that_is_there_twice_is_refused(server: ServerProcess, body: bytes, member: str) -> None:
    answer = server.post("/jobs", body)

    assert_refused(answer, 400, field=member)


def test_a_member_may_be_there_twice_inside_the_payload(server: ServerProcess) -> None:
    answer = server.post("/jobs", b'{"type":"a:b","payload":{"type":1,"type":2},"unknown":{"x":1,"x":2}}')

    assert answer.status == 201


# ---- sizes


@pytest.mark.usefixtures("depth")
def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(server: ServerProcess) -> None:
    head = request("POST", "/jobs", b"", headers={"content-length": str(MEBIBYTE + 1)})

    answer = server.ask_raw(head)

    assert_refused(answer, 413)
    assert answer.headers["connection"] == "close"


@pytest.mark.usefixtures("depth")
def test_a_body_of_one_byte_too_many_is_refused(server: ServerProcess) -> None:
    body = GOOD + b" " * (MEBIBYTE + 1 - len(GOOD))

    answer = server.post("/jobs", body)

    assert_refused(answer, 413)


@pytest.mark.usefixtures("depth")
def test_a_chunked_body_that_grows_too_large_is_refused(server: ServerProcess) -> None:
    chunks = b"8000\r\n%b\r\n" % (b" " * 0x8000) * 33

    answer = server.ask("POST", "/jobs", chunks + b"0\r\n\r\n", headers={"transfer-encoding": "chunked"})

    assert_refused(answer, 413)


@pytest.mark.usefixtures("depth")
def test_a_body_that_never_ends_leaves_nothing_behind(server: ServerProcess) -> None:
    with server.connect() as connection:
        connection.send(request("POST", "/jobs", GOOD, headers={"content-length": "1000"}))

    assert server.get("/healthz").status == 200


# ---- where it comes from


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("path", ["/jobs", "/default/jobs", "/queue/from-a-form", "/dlq/1/replay"])
@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""]
)
@pytest.mark.parametrize("source", CROSS_SITE, ids=short)
def test_a_form_on_another_sites_page_cannot_act(
    server: ServerProcess, path: str, content_type: str, source: dict[str, str]
) -> None:
    answer = server.ask("POST", path, GOOD, headers={"content-type": content_type, **source})

    assert_refused(answer, 415)
    assert "from-a-form" not in server.get("/queue").json


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_from_a_page_is_accepted(server: ServerProcess, content_type: str) -> None:
    headers = {"content-type": content_type, "origin": "http://localhost"}

    answer = server.ask("POST", "/jobs", GOOD, headers=headers)

    assert answer.status == 201


# ---- compressed bodies


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("path", ["/jobs", "/jobs/batch", "/default/jobs"])
@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
def test_a_body_in_another_coding_is_refused(server: ServerProcess, path: str, coding: str) -> None:
    answer = server.ask("POST", path, GOOD, headers={"content-encoding": coding})

    assert_refused(answer, 415)
    assert answer.headers["accept-encoding"] == "identity"


def test_a_body_that_is_said_to_be_as_it_is_is_accepted(server: ServerProcess) -> None:
    answer = server.ask("POST", "/jobs", GOOD, headers={"content-encoding": "Identity"})

    assert answer.status == 201


# ---- paths


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("name", BAD_QUEUES)
def test_a_queue_that_cannot_be_is_refused(server: ServerProcess, name: str) -> None:
    answer = server.post(f"/{name}/jobs", GOOD)

    assert_refused(answer, 400, field="queue")


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("path", TRAVERSALS)
def test_a_path_leads_nowhere_else(server: ServerProcess, path: str) -> None:
    answer = server.post(path, GOOD)

    assert answer.status in (400, 404, 405)
    assert answer.json["error"]


@pytest.mark.usefixtures("depth")
@pytest.mark.parametrize("target", [b"/\xff/jobs", b"/a b/jobs", b"/a\x00/jobs", b"jobs", b""])
def test_a_target_that_is_no_path_is_refused(server: ServerProcess, target: bytes) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: test\r\nconnection: close\r\n" % target

    answer = server.ask_raw(head + b"content-length: %d\r\n\r\n%b" % (len(GOOD), GOOD))

    assert 400 <= answer.status < 500


@pytest.mark.usefixtures("depth")
def test_what_is_no_http_is_refused(server: ServerProcess) -> None:
    answer = server.ask_raw(b"\x16\x03\x01\x02\x00\x01\x00 hello\r\n\r\n")

    assert answer.status == 400


# ---- depth


@pytest.mark.parametrize("fast_lane", ["true", "false"])
def test_a_full_queue_refuses_and_says_when_to_come_again(fast_lane: str) -> None:
    with running_server("--no-workers", env={"MAX_QUEUE_DEPTH": "2", "FAST_LANE": fast_lane}) as server:
        server.post("/queue/other")
        server.submit("logger")
        server.submit("logger", delay=3600)

        answer = server.post("/jobs", GOOD)

        assert_refused(answer, 429, field="queue")
        assert answer.headers["retry-after"].isdigit()
        assert int(answer.headers["retry-after"]) > 0
        assert sample(server, DEPTH, queue="default") == 2
        assert server.post("/other/jobs", GOOD).status == 201
