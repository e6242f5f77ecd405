"""What a secret must be, and that no error shows one."""

from pathlib import Path

import pytest

from gotaskq import Settings
from gotaskq.callback_secrets import callback_secrets
from gotaskq.config import describe_json, load_settings
from gotaskq.errors import ConfigError

SECRET = "whsec_" + "c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ghIQ=="
OLDER = "whsec_" + "YW4gb2xkIHNlY3JldCwgbG9uZyBlbm91Z2ggdG9v"


def test_there_is_none_unless_one_is_set() -> None:
    assert callback_secrets(Settings()) == ()


def test_while_one_is_replaced_there_are_two(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n{OLDER}\n")

    assert callback_secrets(Settings(callback_secret=f"{SECRET} {OLDER}")) == (SECRET, OLDER)
    assert callback_secrets(Settings(callback_secret_file=str(file))) == (SECRET, OLDER)


@pytest.mark.parametrize(
    "text",
    [
        SECRET.removeprefix("whsec_"),
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_no base64!",
        "whsec_" + "A" * 88,
        f"{SECRET} x",
        " ".join([SECRET] * 5),
    ],
)
def test_what_is_none_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError, match="CALLBACK_SECRET=") as refused:
        callback_secrets(Settings(callback_secret=text))

    assert all(word not in str(refused.value) for word in text.split() if len(word) > len("whsec_"))


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (empty := tmp_path / "empty").touch()

    for settings in (
        Settings(callback_secret_file=str(tmp_path / "none")),
        Settings(callback_secret_file=str(empty)),
        Settings(callback_secret_file=str(empty), callback_secret=SECRET),
    ):
        with pytest.raises(ConfigError, match="CALLBACK_SECRET_FILE="):
            callback_secrets(settings)


def test_settings_do_not_show_it() -> None:
    loaded = load_settings({"CALLBACK_SECRET": SECRET})

    assert SECRET not in repr(loaded.settings)
    assert SECRET not in str(describe_json(loaded))
