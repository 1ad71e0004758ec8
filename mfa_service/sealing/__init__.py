"""Secrets at rest: data keys sealed by one root key, devices' secrets sealed by the data keys (AES-256-GCM)."""

from mfa_service.sealing.contexts import device_context
from mfa_service.sealing.first_start import establish
from mfa_service.sealing.keyring import Keyring
from mfa_service.sealing.keys import KeyMaterial, KeyWrapping, OpenKey, PrivateKey, current, private_key
from mfa_service.sealing.resealing import Resealing, reseal
from mfa_service.sealing.root_key import RootKey, read_or_make_root_key, read_root_key, root_key_from_text
from mfa_service.sealing.rotation import new_sealing_key, retirement_ms, rotate

__all__ = [
    "KeyMaterial",
    "KeyWrapping",
    "Keyring",
    "OpenKey",
    "PrivateKey",
    "Resealing",
    "RootKey",
    "current",
    "device_context",
    "establish",
    "new_sealing_key",
    "private_key",
    "read_or_make_root_key",
    "read_root_key",
    "reseal",
    "retirement_ms",
    "root_key_from_text",
    "rotate",
]
