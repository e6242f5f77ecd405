"""Destinations: no URL and no name leads into a network nobody allowed."""

from collections.abc import Sequence

import pytest

from gotaskq.delivery.destination import Guard, read_url
from gotaskq.delivery.errors import DestinationError

PUBLIC = "93.184.215.14"


def names(**addresses: Sequence[str]) -> Guard:
    return answering({name.replace("_", "."): found for name, found in addresses.items()})


def answering(addresses: dict[str, Sequence[str]], allow: Sequence[str] = ()) -> Guard:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses[host]

    return Guard(allow, resolve=resolve)


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://example.com", "https://example.com", "/"),
        ("https://Example.com.:443/a?b=c", "https://example.com", "/a?b=c"),
        ("http://example.com:8080/x", "http://example.com:8080", "/x"),
        ("https://[2606:2800::1]:8443/", "https://[2606:2800::1]:8443", "/"),
    ],
)
def test_a_url_is_read(url: str, origin: str, target: str) -> None:
    destination = read_url(url)

    assert (destination.origin, destination.target) == (origin, target)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://user:hunter2@example.com/",
        "https://user@example.com/",
        "https://example.com@evil.example/",
        "https://example.com\\@evil.example/",
        "https://example.com/a b",
        "https://exa\nmple.com/",
        "https://exämple.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:/",
        "https://example.com:x/",
        "https:///path",
        "https://-example.com/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://example.com/#part",
        "https://example.com/" + "a" * 2_048,
    ],
)
def test_a_url_that_could_mean_two_things_is_refused(url: str) -> None:
    with pytest.raises(DestinationError) as refused:
        read_url(url)

    assert "hunter2" not in str(refused.value)


FORBIDDEN = [
    "127.0.0.1",
    "127.255.0.3",
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_name_that_leads_to_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(DestinationError, match=r"evil\.example"):
        await names(evil_example=[address]).addresses(read_url("https://evil.example/"))


@pytest.mark.parametrize("address", [address for address in FORBIDDEN if "%" not in address])
async def test_so_is_the_address_itself(address: str) -> None:
    host = f"[{address}]" if ":" in address else address

    with pytest.raises(DestinationError, match="nothing is delivered"):
        await Guard().addresses(read_url(f"https://{host}/"))


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "LOCALHOST."])
async def test_other_spellings_of_this_machine_are_refused_by_what_they_lead_to(host: str) -> None:
    with pytest.raises(DestinationError, match="a loopback address"):
        await Guard().addresses(read_url(f"https://{host}/"))


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f::1", f"64:ff9b::{PUBLIC}"])
async def test_a_public_address_is_admitted(address: str) -> None:
    assert len(await names(well_example=[address]).addresses(read_url("https://well.example/"))) == 1


async def test_of_several_addresses_only_those_that_may_are_connected_to() -> None:
    guard = names(mixed_example=["10.0.0.1", PUBLIC, "127.0.0.1"])

    assert await guard.addresses(read_url("https://mixed.example/")) == [PUBLIC]


async def test_a_name_without_addresses_is_refused() -> None:
    with pytest.raises(DestinationError, match="nowhere"):
        await names(none_example=[]).addresses(read_url("https://none.example/"))


@pytest.mark.parametrize(
    ("allow", "url", "address"),
    [
        ("10.0.0.0/8", "http://billing.internal:80/", "10.1.2.3"),
        ("10.1.2.3", "https://billing.internal/", "10.1.2.3"),
        ("10.0.0.0/8", "https://billing.internal/", "::ffff:10.1.2.3"),
        ("billing.internal", "http://billing.internal:25/", "10.1.2.3"),
        ("Billing.Internal.", "http://billing.internal/", "127.0.0.1"),
        ("billing.internal", "http://billing.internal/", PUBLIC),
        ("169.254.0.0/16", "http://billing.internal/", "169.254.169.254"),
        ("::1", "http://billing.internal/", "::1"),
    ],
)
async def test_what_the_operator_names_is_admitted(allow: str, url: str, address: str) -> None:
    guard = answering({"billing.internal": [address]}, [allow])

    assert len(await guard.addresses(read_url(url))) == 1


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "224.0.0.1", "0.0.0.0"])
async def test_a_name_that_is_allowed_still_leads_to_no_metadata(address: str) -> None:
    with pytest.raises(DestinationError):
        await answering({"billing.internal": [address]}, ["billing.internal"]).addresses(
            read_url("http://billing.internal/")
        )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://well.example/", "use https"),
        ("https://well.example:22/", "port 22"),
        ("https://well.example:25/", "port 25"),
    ],
)
async def test_plain_http_and_the_ports_of_others_are_refused(url: str, words: str) -> None:
    with pytest.raises(DestinationError, match=words):
        await names(well_example=[PUBLIC]).addresses(read_url(url))
