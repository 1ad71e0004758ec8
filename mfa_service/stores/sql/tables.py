"""The tables of the registry, as this version of the service reads and writes them.

The schema in a database is made by the revisions in `mfa_service.stores.migrations`; a test holds the two equal.
Moments and durations are whole milliseconds.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

Exact = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that compares by its code points on every database."""

applications = Table(
    "applications",
    metadata,
    Column("id", Exact, primary_key=True),
    Column("name", Exact, nullable=False, unique=True),
    Column("client_id", Exact, nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("secret_hashes", JSON, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

# What an application answers to, its name and its client id, in one column: so no name is another one's client id.
application_labels = Table(
    "application_labels",
    metadata,
    Column("label", Exact, primary_key=True),
    Column("application_id", Exact, ForeignKey("applications.id", ondelete="CASCADE"), nullable=False, index=True),
)

devices = Table(
    "devices",
    metadata,
    Column("id", Exact, primary_key=True),
    Column("application_id", Exact, ForeignKey("applications.id"), nullable=False),
    Column("user_name", Exact, nullable=False),
    Column("name", Exact, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("status", Exact, nullable=False),
    Column("algorithm", Exact, nullable=False),
    Column("digits", Integer, nullable=False),
    Column("period_s", Integer, nullable=False),
    Column("key_id", Exact, nullable=False, index=True),
    Column("secret", LargeBinary, nullable=False),
    Column("last_step", BigInteger, nullable=False, server_default=text("-1")),
    Column("last_auth_id", Exact, nullable=False, server_default=text("''")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("locked_until_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("pending_until_ms", BigInteger, nullable=False, server_default=text("0")),  # 0 once it was active
    Column("created_at_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("application_id", "user_name", "name"),
    UniqueConstraint("application_id", "user_name", "slot"),
    Index(
        "ix_devices_pending",
        "pending_until_ms",
        postgresql_where=text("pending_until_ms > 0"),
        sqlite_where=text("pending_until_ms > 0"),
    ),
    postgresql_with={"fillfactor": 80},  # room on each page for the row's next version: no index entry per accepted code
)

keys = Table(
    "keys",
    metadata,
    Column("id", Exact, primary_key=True),
    Column("purpose", Exact, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("algorithm", Exact, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("public_jwk", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("active_from_ms", BigInteger, nullable=False),
    UniqueConstraint("purpose", "generation"),
)
