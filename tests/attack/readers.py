"""How authenticators read a registration URI, in three ways that they are known to."""

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

import pyotp
from yarl import URL

Reading = tuple[str, str, Mapping[str, str]]
"""The issuer, the account, and the parameters."""


def by_pyotp(uri: str) -> Reading:
    """Read as pyotp does."""
    read = pyotp.parse_uri(uri)
    assert isinstance(read, pyotp.TOTP)
    return str(read.issuer), str(read.name), {"secret": read.secret, "digits": str(read.digits)}


def label_first(uri: str) -> Reading:
    """Read by the generic syntax, and decode the label before splitting it, as most do; a `+` is a plus sign."""
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("otpauth", "totp", "")
    issuer, account = unquote(parts.path.removeprefix("/")).split(":")
    pairs = [field.partition("=")[::2] for field in parts.query.split("&")]
    parameters = {unquote(name): unquote(value) for name, value in pairs}
    assert len(parameters) == len(pairs)
    return issuer, account, parameters


def label_last(uri: str) -> Reading:
    """Read by a URL library, and split the label before decoding its parts; a `+` in the query is a blank."""
    url = URL(uri, encoded=True)
    assert (url.scheme, url.host, url.raw_fragment) == ("otpauth", "totp", "")
    issuer, account = url.raw_path.removeprefix("/").split(":")
    pairs = parse_qsl(url.raw_query_string, keep_blank_values=True, strict_parsing=True)
    parameters = dict(pairs)
    assert len(parameters) == len(pairs)
    return unquote(issuer), unquote(account), parameters


READERS: Mapping[str, Callable[[str], Reading]] = {
    "pyotp": by_pyotp,
    "label first": label_first,
    "label last": label_last,
}
