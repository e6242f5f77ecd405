"""The PUSH_FILE: an error names the file, the entry and the key, and no secret."""

from pathlib import Path

import pytest

from gotaskq.errors import ConfigError
from gotaskq.push_file import read_push_file

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "secret").write_text(SECRET + "\n")
    monkeypatch.setenv("EMAIL_SECRET", SECRET)
    return tmp_path / "pushes.toml"


def test_an_entry_says_where_its_jobs_go(file: Path) -> None:
    file.write_text("""
        [types."email.send"]
        url = "https://example.com/hooks"
        secret_env = "EMAIL_SECRET"
        secret_file = ["secret"]
        timeout = "1500ms"
        max_retries = 9
        queue = "mail"
        headers = { "x-team" = "a" }

        [types.other]
        url = "https://example.com/"
        secret_env = "EMAIL_SECRET"
    """)

    entry, other = read_push_file(file)

    assert (entry.type, entry.url, entry.secrets) == ("email.send", "https://example.com/hooks", (SECRET, SECRET))
    assert (entry.timeout_s, entry.max_retries, entry.queue, entry.headers) == (1.5, 9, "mail", {"x-team": "a"})
    assert (other.type, other.timeout_s, other.max_retries) == ("other", None, None)
    assert SECRET not in repr(entry)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[types", "TOML"),
        ("[type.a]\n", "it has 'type'"),
        ("types = 1\n", "it has no table"),
        ("[types.a]\n", r'types\."a": Object missing required field `url`'),
        ("[types.a]\nurl = 1\n", r'types\."a": Expected `str`, got `int` - at `url`'),
        ('[types.a]\nurl = "u"\nurls = "u"\n', "unknown field `urls`"),
        ('[types.a]\nurl = "u"\n', "secret_env or secret_file"),
        (
            '[types.a]\nurl = "u"\nsecret_env = "NONE_SUCH"\n',
            r'types\."a"\.secret_env: the environment has no NONE_SUCH',
        ),
        ('[types.a]\nurl = "u"\nsecret_file = "none"\n', r'types\."a"\.secret_file: .*none cannot be read'),
        ('[types.a]\nurl = "u"\nsecret_env = "EMAIL_SECRET"\ntimeout = "10"\n', r"\.timeout: a duration"),
    ],
)
def test_what_cannot_be_used_is_named(file: Path, content: str, words: str) -> None:
    file.write_text(content)

    with pytest.raises(ConfigError, match=words) as refused:
        read_push_file(file)

    assert str(refused.value).startswith(f"PUSH_FILE={str(file)!r}: ")
    assert SECRET not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a file that can be read"):
        read_push_file(tmp_path / "none.toml")
