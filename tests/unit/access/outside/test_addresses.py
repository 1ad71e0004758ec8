"""Which URLs an issuer's documents are fetched from."""

from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest

from mfa_service.access.outside.addresses import (
    is_off_limits,
    is_same_origin,
    parse,
    parse_named,
    refuse_unfit_issuer,
)
from mfa_service.access.outside.documents import Unusable
from mfa_service.errors import SettingsInvalid

TAKEN = [
    "https://issuer.example",
    "https://issuer.example:8443/realms/one",
    "https://issuer.example/keys?p=policy",
    "https://10.0.0.7/keys",
    "https://1.2.3.example/keys",
    "https://0xissuer/keys",
    "https://[2001:db8::7]/keys",
    "http://localhost:8080",
    "http://127.0.0.1/keys",
    "http://127.1.2.3",
    "http://[::1]:8080/keys",
]
REFUSED = {
    "": "malformed",
    "issuer.example": "malformed",
    "https://": "malformed",
    "https:///keys": "malformed",
    "https://issuer.example:port": "malformed",
    "https://[::1": "malformed",
    "https://issuer.example/a b": "malformed",
    "https://issuer.example\\@evil.example": "malformed",
    "https://issuer.example/\n": "malformed",
    "https://\u0131ssuer.example": "malformed",
    "http://issuer.example": "must be of https",
    "http://10.0.0.7": "must be of https",
    "http://localhost.evil.example": "must be of https",
    "http://2130706433/": "must be of https",  # 127.0.0.1 to some
    "ftp://issuer.example/keys": "must be of https",
    "file://localhost/etc/passwd": "must be of https",
    "data:application/json,{}": "malformed",
    "file:///etc/passwd": "malformed",
    "https://user@issuer.example": "credentials",
    "https://user:hunter2@issuer.example": "credentials",
    "https://@issuer.example": "credentials",
    "https://issuer.example/keys#one": "fragment",
    "https://169.254.169.254/latest": "never asked",
    "https://[fe80::1]/": "never asked",
    "https://[::ffff:169.254.169.254]/": "never asked",
    "https://[fd00:ec2::254]/": "never asked",
    "https://[fd00:ec2::23]/": "never asked",
    "https://[fd00:c1::a9fe:a9fe]/": "never asked",
    "https://100.100.100.200/": "never asked",
    "https://0.0.0.0/": "never asked",
    "https://224.0.0.1/": "never asked",
    "https://[64:ff9b::a9fe:a9fe]/": "never asked",
    "https://[64:ff9b:1::a9fe:a9fe]/": "never asked",
    "https://[64:ff9b:1:7::a9fe:a9fe]/": "never asked",
    "https://[::ffff:0:169.254.169.254]/": "never asked",
    "https://[2002:a9fe:a9fe::]/": "never asked",
    "https://[::]/": "never asked",
    "https://2130706433/": "malformed",
    "https://0x7f000001/": "malformed",
    "https://0X7F.1/": "malformed",
    "https://127.1/": "malformed",
    "https://0177.0.0.1/": "malformed",
    "https://127.0.0.1./": "malformed",
    "https://issuer.127/": "malformed",
    "https://%31%32%37.0.0.1/": "malformed",
    "https://localhos%74/": "malformed",
    "https://[fd00::1%25eth0]/": "malformed",
    "http://[64:ff9b::7f00:1]/": "must be of https",  # it goes by the network
    "http://[::7f00:1]/": "must be of https",
}


@pytest.mark.parametrize("url", TAKEN)
def test_https_is_taken_anywhere_and_http_on_this_machine(url: str) -> None:
    assert parse(url).geturl() == url
    refuse_unfit_issuer(url)


@pytest.mark.parametrize(("url", "reason"), REFUSED.items())
def test_any_other_url_is_refused_with_a_reason_that_does_not_repeat_it(url: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as refusal:
        parse(url)
    assert "hunter2" not in str(refusal.value)
    with pytest.raises(SettingsInvalid, match=r"^tokens\.issuer: its URL .*") as refused:
        refuse_unfit_issuer(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1/keys", "http://localhost:9090/keys", "https://[::ffff:127.0.0.1]/", "https://[::1]/"),
        *("https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://[::127.0.0.1]/"),
        *("https://[64:ff9b:1::7f00:1]/", "https://[::ffff:0:127.0.0.1]/"),
    ],
)
def test_an_issuer_elsewhere_cannot_send_the_service_to_its_own_machine(url: str) -> None:
    with pytest.raises(Unusable, match="leads to this machine"):
        parse_named(url, by=parse("https://issuer.example"))
    assert parse_named(url, by=parse("http://localhost:8080")).geturl() == url


def test_keys_may_be_at_another_host_than_the_issuer() -> None:
    assert parse_named("https://keys.example/v1", by=parse("https://issuer.example"))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://issuer.example/elsewhere", True),
        ("https://issuer.example:443/", True),
        ("https://ISSUER.example/", True),
        ("https://issuer.example:8443/", False),
        ("https://keys.issuer.example/", False),
        ("http://issuer.example:443/", False),
        ("http://issuer.example/", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(other: str, *, same: bool) -> None:
    assert is_same_origin(parse("https://issuer.example/keys"), urlsplit(other)) is same


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "192.168.1.1", "8.8.8.8", "fd00::1", "127.0.0.1", "2001:db8::1"),
        *("64:ff9b:1::808:808", "::ffff:0:8.8.8.8"),
    ],
)
def test_addresses_of_companies_and_of_the_world_are_asked(address: str) -> None:
    assert not is_off_limits(ip_address(address))
