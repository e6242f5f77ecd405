"""How a child ended, in words."""

import pytest

from gotaskq.executors.process.supervisor import describe_end


@pytest.mark.parametrize(
    ("exit_code", "text"),
    [
        (0, "child exited with code 0"),
        (3, "child exited with code 3"),
        (-9, "child ended by signal 9 (SIGKILL)"),
        (-11, "child ended by signal 11 (SIGSEGV)"),
        (-63, "child ended by signal 63"),
    ],
)
def test_an_exit_code_in_words(exit_code: int, text: str) -> None:
    assert describe_end(exit_code) == text
