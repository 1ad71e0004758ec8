"""What other parties read to get and check this service's tokens: its keys and its metadata."""

from collections.abc import Iterable, Mapping

from mfa_service.access.keysets import SigningKeys


class Metadata:
    """The two documents under `/.well-known/`.

    Args:
        keys: the keys that sign tokens.
        issuer: what tokens name as `iss`.
        public_url: where callers reach the service, without a slash at its end; never taken from a request.
        base_path: in front of every call; empty, or begins with a slash and does not end with one.
        scopes: every scope there is.
    """

    def __init__(
        self, *, keys: SigningKeys, issuer: str, public_url: str, base_path: str, scopes: Iterable[str]
    ) -> None:
        self._keys = keys
        self._metadata: Mapping[str, object] = {
            "issuer": issuer,
            "token_endpoint": f"{public_url}{base_path}/oauth2/token",
            "jwks_uri": f"{public_url}/.well-known/jwks.json",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "scopes_supported": sorted(scopes),
            # There is no authorization endpoint; RFC 8414 §2 requires the member, and §3.2 forbids an empty array.
            "response_types_supported": ["none"],
        }

    def jwks(self) -> Mapping[str, object]:
        """Return the public keys that tokens are verified with (RFC 7517 §5)."""
        return self._keys.jwks()

    def metadata(self) -> Mapping[str, object]:
        """Return the authorization server's metadata (RFC 8414 §2)."""
        return self._metadata
