"""`.env` files: what a line may look like, and that a refusal never repeats one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotaskq.env_file import parse_env
from gotaskq.errors import ConfigError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=plain", "plain"),
        ("export KEY=exported", "exported"),
        ("  KEY = spaced out  ", "spaced out"),
        ("KEY=", ""),
        ("KEY= # only a comment", ""),
        ("KEY=value # a comment", "value"),
        ("KEY=a#b", "a#b"),
        ("KEY=it's", "it's"),
        ("KEY=a=b", "a=b"),
        ("KEY=$HOME/${X}", "$HOME/${X}"),
        ("KEY='single # \\n $X'", "single # \\n $X"),
        ('KEY="double # kept" # dropped', "double # kept"),
        (r'KEY="a\nb\tc\\d\"e"', 'a\nb\tc\\d"e'),
        (r'KEY="C:\jobs"', r"C:\jobs"),
        ('KEY=""', ""),
        ("KEY=crlf\r", "crlf"),
        ("KEY=first\nKEY=last", "last"),
        ("\ufeffKEY=after a BOM", "after a BOM"),
        ("# comment\n\n   # another\nKEY=grün", "grün"),
    ],
)
def test_an_env_line_is_read(line: str, value: str) -> None:
    assert parse_env(line.encode(), file_name="x") == {"KEY": value}


@pytest.mark.parametrize(
    "line",
    [
        b"KEY",
        b"=value",
        b"1KEY=v",
        b"a b=v",
        b'KEY="open',
        b"KEY='open",
        b'KEY="a"b',
        b'KEY="a"#b',
        b"KEY=\xff",
    ],
)
def test_a_bad_env_line_is_refused_with_file_and_number(line: bytes) -> None:
    with pytest.raises(ConfigError, match=r"--env-file='prod\.env:3': this line must be KEY=VALUE"):
        parse_env(b"A=1\n\n" + line, file_name="prod.env")


def test_a_bad_env_line_is_not_repeated_because_it_may_hold_a_password() -> None:
    with pytest.raises(ConfigError) as error:
        parse_env(b"REDIS_URL='redis://:hunter2@host", file_name="x")

    assert "hunter2" not in str(error.value)


@given(st.binary() | st.text(alphabet="AK=\"'\\#\n\r export$", max_size=60).map(str.encode))
def test_any_env_file_is_read_or_refused_with_a_config_error(content: bytes) -> None:
    try:
        values = parse_env(content, file_name="x")
    except ConfigError:
        return
    assert all(isinstance(text, str) for pair in values.items() for text in pair)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\\\"'\n\r")))
def test_a_quoted_value_comes_back_as_it_was(value: str) -> None:
    single, double = f"KEY='{value}'", f'KEY="{value}"'

    assert parse_env(single.encode(), file_name="x") == {"KEY": value}
    assert parse_env(double.encode(), file_name="x") == {"KEY": value}
