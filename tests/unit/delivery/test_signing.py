"""Signatures: as the specification has them, and no others pass."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotaskq.delivery import verify
from gotaskq.delivery.errors import SignatureError, StaleSignatureError
from gotaskq.delivery.signing import read_secret, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another key of thirty-two bytes!").decode()
BODY = b'{"test": 2432232314}'
SENT_S = 1_614_265_330
SIGNED = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(SENT_S),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def test_the_vector_all_libraries_of_the_standard_share() -> None:
    assert signed_headers(SIGNED["webhook-id"], BODY, [SECRET], now_s=SENT_S + 0.9) == SIGNED
    assert verify(SIGNED, BODY, SECRET, now_s=SENT_S) == SIGNED["webhook-id"]


def test_each_secret_signs_and_any_of_them_verifies() -> None:
    headers = signed_headers("1", BODY, [OTHER, SECRET], now_s=SENT_S)

    assert headers["webhook-signature"].count("v1,") == 2
    assert verify(headers, BODY, [SECRET], now_s=SENT_S) == verify(headers, BODY, [OTHER], now_s=SENT_S) == "1"


def test_without_a_secret_nothing_is_signed() -> None:
    assert "webhook-signature" not in signed_headers("1", BODY, [], now_s=SENT_S)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"webhook-signature": "v1,AAAA"}, "no signature"),
        ({"webhook-signature": "v1a," + SIGNED["webhook-signature"][3:]}, "no signature"),
        ({"webhook-signature": ""}, "no webhook-signature"),
        ({"webhook-id": "msg_other"}, "no signature"),
        ({"webhook-id": "msg.1614265330"}, "webhook-id"),
        ({"webhook-timestamp": "soon"}, "webhook-timestamp"),
        ({"webhook-timestamp": str(SENT_S + 1)}, "no signature"),
    ],
)
def test_what_was_changed_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(SignatureError, match=words):
        verify(SIGNED | change, BODY, SECRET, now_s=SENT_S)


@pytest.mark.parametrize("late_s", [301, -301])
def test_a_message_of_another_time_is_stale(late_s: int) -> None:
    with pytest.raises(StaleSignatureError, match="301 s"):
        verify(SIGNED, BODY, SECRET, now_s=SENT_S + late_s)

    assert verify(SIGNED, BODY, SECRET, now_s=SENT_S + late_s, tolerance_s=301)


def test_header_names_have_no_case() -> None:
    assert verify({name.title(): value for name, value in SIGNED.items()}, BODY, SECRET, now_s=SENT_S)


@pytest.mark.parametrize("secret", ["hunter2", "whsec_c2hvcnQ=", "whsec_%%%%", "whsec_" + "A" * 100])
def test_a_secret_that_is_none_is_refused_unseen(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as refused:
        read_secret(secret)

    assert secret.removeprefix("whsec_") not in str(refused.value)


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\n", "ä", "x" * 256])
def test_an_id_that_could_forge_is_not_signed(message_id: str) -> None:
    with pytest.raises(ValueError, match="message id"):
        signed_headers(message_id, BODY, [SECRET], now_s=SENT_S)


KEYS = st.binary(min_size=24, max_size=64)


@given(body=st.binary(), keys=st.lists(KEYS, min_size=1, max_size=3, unique=True), which=st.integers(0, 2))
def test_what_is_signed_verifies_and_a_changed_byte_does_not(body: bytes, keys: list[bytes], which: int) -> None:
    secrets = ["whsec_" + base64.b64encode(key).decode() for key in keys]

    headers = signed_headers("7301", body, secrets, now_s=SENT_S)

    assert verify(headers, body, secrets[which % len(secrets)], now_s=SENT_S) == "7301"
    with pytest.raises(SignatureError):
        verify(headers, body + b" ", secrets, now_s=SENT_S)
