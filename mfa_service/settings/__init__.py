"""The settings: what there is to set, where it is read from, how it is printed."""

from mfa_service.settings.printing import default_toml, show
from mfa_service.settings.reading import Loaded, load
from mfa_service.settings.sections import (
    Audit,
    Challenge,
    Database,
    Device,
    Guessing,
    Http,
    Keys,
    Log,
    Ops,
    Otp,
    Pages,
    Quota,
    Redis,
    Settings,
    Tokens,
    Vault,
)

__all__ = [
    "Audit",
    "Challenge",
    "Database",
    "Device",
    "Guessing",
    "Http",
    "Keys",
    "Loaded",
    "Log",
    "Ops",
    "Otp",
    "Pages",
    "Quota",
    "Redis",
    "Settings",
    "Tokens",
    "Vault",
    "default_toml",
    "load",
    "show",
]
