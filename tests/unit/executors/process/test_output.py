"""What a child prints, cut into log lines."""

import logging

import pytest

from gotaskq.executors.process.output import MAX_LINE_BYTES, Output


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_lines_are_whole_however_the_bytes_come(caplog: pytest.LogCaptureFixture, size: int) -> None:
    printed = "one\n\nthrée\r\nlast".encode()
    output = given_output()

    for at in range(0, len(printed), size):
        output.data_received(printed[at : at + size])
    output.connection_lost(None)

    assert [vars(line)["line"] for line in caplog.records] == ["one", "", "thrée", "last"]


def test_a_line_without_end_is_logged_in_parts(caplog: pytest.LogCaptureFixture) -> None:
    output = given_output()

    output.data_received(b"x" * (2 * MAX_LINE_BYTES + 1))

    assert [len(vars(line)["line"]) for line in caplog.records] == [MAX_LINE_BYTES, MAX_LINE_BYTES, 1]


def test_a_line_says_whose_it_is(caplog: pytest.LogCaptureFixture) -> None:
    given_output().data_received(b"\xff\n")

    about = vars(caplog.records[0])
    assert [about[name] for name in ("stream", "child_pid", "job_id", "line")] == ["stdout", 4711, "7", "\ufffd"]


def test_the_end_is_told(caplog: pytest.LogCaptureFixture) -> None:
    ends: list[str] = []

    Output("stdout", pid=1, job_id=lambda: None, on_end=lambda: ends.append("end")).connection_lost(None)

    assert ends == ["end"]
    assert caplog.records == []


def given_output() -> Output:
    return Output("stdout", pid=4711, job_id=lambda: "7", on_end=lambda: None)
