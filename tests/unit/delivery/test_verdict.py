"""Verdicts: one row for each way a POST can end."""

import pytest

from gotaskq.delivery.verdict import (
    MAX_BODY_BYTES,
    Again,
    Answer,
    Dead,
    Done,
    Ending,
    Forbidden,
    NoAnswer,
    Verdict,
    Wait,
    hide,
    is_at_fault,
    judge,
    wait_s,
)
from gotaskq.testing.clock import START_MS  # 2026-11-23T10:00:00Z


@pytest.mark.parametrize(
    ("ending", "verdict"),
    [
        (Answer(200, b'{"sent":true}'), Done({"sent": True})),
        (Answer(201, b"250"), Done(250)),
        (Answer(202), Done(None)),
        (Answer(204), Done(None)),
        (Answer(200, b"<p>thanks</p>"), Done(None)),
        (Answer(200, b"NaN"), Done(None)),
        (Answer(200, b'"\xff"'), Done(None)),
        (Answer(200, b"[" * 5_000), Done(None)),
        (Answer(200, b"1" * MAX_BODY_BYTES, is_whole=False), Done(None)),
        (Answer(301, retry_after="5"), Dead("HTTP 301")),
        (Answer(304), Dead("HTTP 304")),
        (Answer(400, b"no such user\n"), Dead("HTTP 400: no such user")),
        (Answer(404), Dead("HTTP 404")),
        (Answer(410, b"\xff" * 1_000), Dead("HTTP 410: " + "\ufffd" * 200)),
        (Answer(408), Again("HTTP 408")),
        (Answer(425), Again("HTTP 425")),
        (Answer(429), Again("HTTP 429")),
        (Answer(429, retry_after="30"), Wait(30)),
        (Answer(429, retry_after="soon"), Again("HTTP 429")),
        (Answer(500, b"oh", retry_after="30"), Again("HTTP 500: oh")),
        (Answer(502), Again("HTTP 502")),
        (Answer(503), Again("HTTP 503")),
        (Answer(503, retry_after="Mon, 23 Nov 2026 10:01:00 GMT"), Wait(60)),
        (Answer(599), Again("HTTP 599")),
        (NoAnswer("no answer within 30 s"), Again("no answer within 30 s")),
        (Forbidden("it is at 10.0.0.1"), Dead("it is at 10.0.0.1")),
    ],
)
def test_what_becomes_of_the_job(ending: Ending, verdict: Verdict) -> None:
    assert judge(ending, now_ms=START_MS) == verdict


@pytest.mark.parametrize(
    ("text", "delay_s"),
    [
        ("0", 1),
        ("120", 120),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 1),
        ("9" * 400, 999_999_999),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("٣", None),
        ("Mon, 99 Nov 2026 09:00:00 GMT", None),
    ],
)
def test_retry_after_has_two_forms(text: str, delay_s: float | None) -> None:
    assert wait_s(text, now_ms=START_MS) == delay_s


@pytest.mark.parametrize(
    ("ending", "is_its_fault"),
    [(Answer(500), True), (NoAnswer("reset"), True), (Answer(429), False), (Answer(404), False), (Answer(200), False)],
)
def test_only_what_is_its_own_fault_counts_against_a_destination(ending: Ending, is_its_fault: bool) -> None:
    assert is_at_fault(ending) is is_its_fault


def test_what_our_headers_hold_is_hidden_where_it_comes_back() -> None:
    assert hide("you sent Bearer abcdef", {"authorization": "Bearer abcdef", "x": "sent"}) == "you sent ***"
