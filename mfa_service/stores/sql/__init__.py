"""The registry in SQL: one implementation for SQLite and PostgreSQL."""

from mfa_service.stores.sql.registry import Registry, open_registry

__all__ = ["Registry", "open_registry"]
