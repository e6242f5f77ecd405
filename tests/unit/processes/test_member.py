"""What a process is told to be one of several, as text on its command line."""

from pathlib import Path

import pytest

from gotaskq.processes.member import Member


@pytest.mark.parametrize("folder", ["/tmp/gotaskq-x", "/tmp/a:b c"])
def test_a_member_comes_back_as_it_was_written(folder: str) -> None:
    member = Member(3, 7, Path(folder))

    assert Member.parse(str(member)) == member
