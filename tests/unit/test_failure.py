"""How a failure is told: one printable line, a bounded traceback, and never a failure of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotaskq.errors import RemoteError
from gotaskq.failure import MAX_ERROR_BYTES, clip, clip_front, describe, traceback_of
from gotaskq.trail import MAX_TRACEBACK_BYTES


class OwnError(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (ValueError("no luck"), "ValueError: no luck"),
        (ValueError(), "ValueError"),
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError("a\r\nb\tc\x00d\x7fe\x85f\u2028g\u2029h"), "ValueError: a  b c d e f g h"),
        (ValueError("Ελλάς 🎉"), "ValueError: Ελλάς 🎉"),
        (ValueError("half \ud83c a pair"), "ValueError: half ? a pair"),
        (OwnError("odd"), "OwnError: odd"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_an_error_is_described_by_its_type_and_message_in_one_line(error: BaseException, described: str) -> None:
    assert describe(error) == described


@pytest.mark.parametrize("character", ["x", "é", "€", "🎉"])
def test_a_long_error_is_cut_at_a_whole_character(character: str) -> None:
    described = describe(ValueError(character * 5_000))

    assert MAX_ERROR_BYTES - 4 < len(described.encode()) <= MAX_ERROR_BYTES
    assert described.strip(character) == "ValueError: "


def test_an_error_that_cannot_be_shown_is_still_described() -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert describe(UnprintableError()) == "UnprintableError: <its message cannot be shown>"


@given(st.text(st.characters(), max_size=3_000))
def test_any_message_becomes_one_line_of_utf_8(message: str) -> None:
    described = describe(ValueError(message))

    assert len(described.encode()) <= MAX_ERROR_BYTES
    assert len(described.splitlines()) == 1


def test_text_is_cut_where_a_character_ends() -> None:
    assert clip("ä" * 10, 5) == "ää"
    assert clip_front("ä" * 10, 5) == "ää"
    assert clip("short", 5) == "short"


def test_text_that_no_encoder_takes_is_made_to_fit() -> None:
    assert clip("\ud800!", 10) == "?!"
    assert clip_front("\ud800!", 10) == "?!"


def test_a_traceback_ends_with_its_error_and_is_bounded() -> None:
    def sink(depth: int) -> None:
        if depth == 0:
            raise ValueError("x" * 2_000)
        sink(depth - 1)

    with pytest.raises(ValueError, match="x") as raised:
        sink(100)

    told = traceback_of(raised.value)
    assert len(told.encode()) <= MAX_TRACEBACK_BYTES
    assert told.endswith("x\n")


def test_the_traceback_of_a_child_is_told_as_it_came() -> None:
    assert traceback_of(RemoteError("ValueError", "no", traceback="in the child")) == "in the child"
