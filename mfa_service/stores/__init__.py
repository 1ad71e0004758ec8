"""Stores: the registry in SQL, challenges in process memory or Redis, behind the ports of `mfa_service.ports`."""
