"""Kinds of values: what is read, how it is written, and that no password is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotaskq.kinds import DESTINATIONS, format_duration, format_size, mask_url, parse_duration_ms, parse_size_bytes

# ---- durations


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("0.0s", 0),
        ("500ms", 500),
        ("10s", 10_000),
        ("1.5s", 1_500),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("0.25d", 21_600_000),
        ("90d", 7_776_000_000),
    ],
)
def test_a_duration_is_read_as_milliseconds(text: str, ms: int) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-1s", "+1s", "1 s", "1S", "1w", "1e3s", ".5s", "1.s", "0.5ms", "٣s", "nans"]
)
def test_what_is_not_a_duration_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0s"), (500, "500ms"), (1_500, "1500ms"), (60_000, "1m"), (90_000, "90s"), (86_400_000, "1d")],
)
def test_a_duration_is_written_in_its_biggest_exact_unit(ms: int, text: str) -> None:
    assert format_duration(ms) == text


@given(st.integers(0, 10**15 - 1) | st.integers(0, 10**6).map(lambda minutes: minutes * 60_000))
def test_a_written_duration_reads_back_as_itself(ms: int) -> None:
    assert parse_duration_ms(format_duration(ms)) == ms


# ---- sizes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("0MB", 0),
        ("1B", 1),
        ("2KB", 2_000),
        ("512MB", 512_000_000),
        ("1.5GiB", 1_610_612_736),
        ("1KiB", 1024),
    ],
)
def test_a_size_is_read_as_bytes(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "5", "MB", "-1MB", "1 MB", "1mb", "1M", "1TB", "1e3MB", ".5GB", "0.5B", "٣MB"])
def test_what_is_not_a_size_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size_bytes(text)


@given(st.integers(0, 10**15 - 1) | st.integers(0, 10**4).map(lambda many: many << 20))
def test_a_written_size_reads_back_as_itself(size_bytes: int) -> None:
    assert parse_size_bytes(format_size(size_bytes)) == size_bytes


# ---- secrets


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("memory://", "memory://"),
        ("sqlite:///jobs.db", "sqlite:///jobs.db"),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://ann:hunter2@host", "rediss://ann:***@host"),
        ("redis://ann@host", "redis://ann@host"),
        ("redis://:p@ss@host/0", "redis://:***@host/0"),
        ("redis://:p/s?s#@host/0", "redis://:***@host/0"),
        ("redis://:a://b@host", "redis://:***@host"),
        ("ann:hunter2@host", "ann:***@host"),
        ("redis+sentinel://:pw@a:1,b:2/main", "redis+sentinel://:***@a:1,b:2/main"),
        ("redis://host/0?password=hunter2&db=1", "redis://host/0?password=***&db=1"),
        (
            "redis://host/0?db=1&Auth_Token=t&client_secret=s",
            "redis://host/0?db=1&Auth_Token=***&client_secret=***",
        ),
        ("redis://:pw@host/0?sentinel_password=x#y", "redis://:***@host/0?sentinel_password=***"),
        ("redis://:pw@host/0?password=p@ss", "redis://:***@"),
        ("http://h/?to=http://i/?token=t", "http://h/?to=http://i/?token=***"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, masked: str) -> None:
    assert mask_url(url) == masked


# Texts made of what has a meaning in a URL find more than texts of any characters.
url_pieces = st.lists(st.sampled_from([*"@:/?#&;=x", "://", "token=", "?password="]), max_size=12).map("".join)
# Marked at both ends, so that a password cannot be found by chance in the rest of the URL.
passwords = (url_pieces | st.text(max_size=20)).map(lambda text: f"HUNTER{text}WINTER")
tails = st.sampled_from(["", "/0", "/0?db=1", "/0?token=t&db=1", "?password=x"])


@given(passwords, st.sampled_from(["redis://", "redis+sentinel://", "", "odd:/"]), tails)
def test_the_password_of_a_url_is_never_shown(password: str, scheme: str, tail: str) -> None:
    masked = mask_url(f"{scheme}ann:{password}@host{tail}")

    assert "HUNTER" not in masked
    assert "WINTER" not in masked


@given(passwords.filter(lambda text: "&" not in text), st.sampled_from(["password", "token", "client_SECRET"]))
def test_a_secret_parameter_is_never_shown(secret: str, name: str) -> None:
    masked = mask_url(f"redis://ann@host/0?db=1&{name}={secret}&x=1")

    assert "HUNTER" not in masked
    assert "WINTER" not in masked


@given(url_pieces | st.text(st.characters()))
def test_any_text_can_be_masked(text: str) -> None:
    assert isinstance(mask_url(text), str)


@pytest.mark.parametrize("text", ["billing.internal", "10.0.0.0/8, localhost", "::1", "fd00::/8", "127.0.0.1"])
def test_destinations_are_names_addresses_and_networks(text: str) -> None:
    items = DESTINATIONS.parse(text)

    assert DESTINATIONS.parse(str(DESTINATIONS.show(items))) == items


@pytest.mark.parametrize("text", ["*", "", "a,,b", "10.0.0.0/33", "http://billing", "a b", "host:80"])
def test_what_could_allow_more_than_was_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        DESTINATIONS.parse(text)
