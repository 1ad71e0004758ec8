"""Where an issuer says its keys are: in its metadata by RFC 8414, or else by OpenID Connect Discovery 1.0."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult

import orjson

from mfa_service.access.outside import addresses
from mfa_service.access.outside.documents import Fetch, Unusable

_SHOWN_CHARACTERS: Final = 200


class _Unfit(Unusable):
    """Metadata is there and cannot be taken: more telling than that nothing is at the other address."""


async def find_keys_url(issuer: str, fetch: Fetch) -> str:
    """Return the `jwks_uri` of an issuer's metadata; of its two addresses the first that fits counts.

    Args:
        issuer: its identifier, which the metadata must repeat to the letter (RFC 8414 §3.3).
        fetch: gets the metadata.

    Raises:
        Unusable: nothing fits at either address.
    """
    own = addresses.parse(issuer)
    refusals: list[Unusable] = []
    for url in metadata_urls(own):
        try:
            return _keys_url((await fetch(url)).content, issuer, own)
        except Unusable as refusal:
            refusals.append(refusal)
    raise next((one for one in refusals if isinstance(one, _Unfit)), refusals[-1]) from None


def metadata_urls(own: SplitResult) -> Sequence[str]:
    """Return where an issuer's metadata may be: RFC 8414 §3.1, then OpenID Connect Discovery 1.0 §4."""
    root, path = f"{own.scheme}://{own.netloc}", own.path.rstrip("/")
    return (
        f"{root}/.well-known/oauth-authorization-server{path}",
        f"{root}{path}/.well-known/openid-configuration",
    )


def _keys_url(content: bytes, issuer: str, own: SplitResult) -> str:
    try:
        metadata = orjson.loads(content)
    except orjson.JSONDecodeError:
        metadata = None
    if not isinstance(metadata, dict) or "issuer" not in metadata:
        raise Unusable("its metadata is none")
    named = metadata["issuer"]
    if named != issuer:
        shown = str(named)[:_SHOWN_CHARACTERS]
        raise _Unfit("its metadata names another issuer", expected_issuer=issuer, named_issuer=shown)
    keys_url = metadata.get("jwks_uri")
    if not isinstance(keys_url, str):
        raise _Unfit("its metadata names no address of keys")
    try:
        addresses.parse_named(keys_url, by=own)
    except Unusable as reason:
        raise _Unfit(f"the address of its keys {reason}") from None
    return keys_url
