"""Another issuer of access tokens: where it says its keys are, and those keys as this service holds them."""

from mfa_service.access.outside.addresses import refuse_unfit_issuer
from mfa_service.access.outside.fetching import HttpFetch, open_session
from mfa_service.access.outside.keys import IssuerKeys

__all__ = ["HttpFetch", "IssuerKeys", "open_session", "refuse_unfit_issuer"]
