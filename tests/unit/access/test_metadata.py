"""The two documents under `/.well-known/`."""

from mfa_service.access.metadata import Metadata
from tests.unit.access.conftest import ISSUER, SCOPES, Access


def metadata(access: Access, *, base_path: str = "/ciam-mfa/v2") -> Metadata:
    return Metadata(
        keys=access.signing, issuer=ISSUER, public_url="https://mfa.example", base_path=base_path, scopes=SCOPES
    )


async def test_the_metadata_names_the_token_call_and_the_keys(access: Access) -> None:
    assert metadata(access).metadata() == {
        "issuer": ISSUER,
        "token_endpoint": "https://mfa.example/ciam-mfa/v2/oauth2/token",
        "jwks_uri": "https://mfa.example/.well-known/jwks.json",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": ["mfa:authenticate", "mfa:enroll"],
        "response_types_supported": ["none"],
    }


async def test_without_a_base_path_the_token_call_is_at_the_root(access: Access) -> None:
    assert metadata(access, base_path="").metadata()["token_endpoint"] == "https://mfa.example/oauth2/token"


async def test_the_keys_are_those_that_tokens_are_signed_with(access: Access) -> None:
    assert metadata(access).jwks() == access.signing.jwks()
