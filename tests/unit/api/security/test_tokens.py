"""Tokens: what is kept of them, who is found by them, and files that cannot be used."""

from pathlib import Path

import pytest

from gotaskq.api.security.tokens import MAX_TOKENS, Scope, Token, TokenSet, new_token, read_tokens
from gotaskq.errors import ConfigError

DIGEST = "a" * 64


def test_a_new_token_is_found_by_what_its_holder_sends() -> None:
    sent, token = new_token("shop", [Scope.SUBMIT, Scope.READ])

    assert TokenSet([token]).find(sent) is token
    assert sent.startswith("gtq_shop_")
    assert sent not in token.line()


def test_two_tokens_of_one_name_differ() -> None:
    assert new_token("shop", [Scope.READ])[0] != new_token("shop", [Scope.READ])[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda sent: sent[:-1],
        lambda sent: sent[:-1] + ("A" if sent[-1] != "A" else "B"),
        lambda sent: sent.replace("shop", "shap"),
        lambda sent: sent.upper(),
        lambda sent: f"{sent} ",
        lambda sent: f"{sent}{'x' * 1_000}",
        lambda sent: "",
        lambda sent: "gtq_shop_" + "é" * 43,
    ],
)
def test_anything_else_is_nobodys(change: object) -> None:
    sent, token = new_token("shop", [Scope.ADMIN])

    assert callable(change)
    assert TokenSet([token]).find(change(sent)) is None


def test_a_token_allows_its_scopes_and_admin_all() -> None:
    reader, admin = (Token("t", DIGEST, frozenset({scope})) for scope in (Scope.READ, Scope.ADMIN))

    assert [scope for scope in Scope if reader.allows(scope)] == [Scope.READ]
    assert all(admin.allows(scope) for scope in Scope)


def test_a_file_is_read_with_its_comments_and_a_text_beside_it(tmp_path: Path) -> None:
    (shop_sent, shop), (ops_sent, ops) = new_token("shop", [Scope.SUBMIT]), new_token("ops", [Scope.ADMIN])
    file = tmp_path / "tokens"
    file.write_text(f"# who may\n\n{shop.line()}  # the shop\n")

    tokens = read_tokens(str(file), f"{ops.line()};")

    assert (tokens.find(shop_sent), tokens.find(ops_sent)) == (shop, ops)


@pytest.mark.parametrize(
    "line",
    [
        "shop",
        f"shop {DIGEST}",
        f"Shop {DIGEST} read",
        f"shop {DIGEST[:-1]} read",
        f"shop {DIGEST} write",
        f"shop {DIGEST} read,",
        f"shop {DIGEST} read more",
        "gtq_shop_the-secret-itself",
    ],
)
def test_a_line_that_is_none_is_refused_by_its_number_and_not_shown(line: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"\n{line}\n")

    with pytest.raises(ConfigError, match="TOKENS_FILE='line 2'") as raised:
        read_tokens(str(file), None)

    assert line not in str(raised.value)


def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="each id once"):
        read_tokens(None, f"a {DIGEST} read;a {DIGEST} admin")


def test_more_tokens_than_anybody_keeps_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most"):
        read_tokens(None, ";".join(f"t{number} {DIGEST} read" for number in range(MAX_TOKENS + 1)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(str(tmp_path / "none"), None)
