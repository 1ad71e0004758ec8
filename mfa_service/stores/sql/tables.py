"""The registry's tables, as this version reads and writes them; the migrations make them.

Moments and durations are whole milliseconds. What is PostgreSQL's alone stands in the migrations: an option of its own
would load its dialect here, which takes 2 MiB of a server on a file.
"""

import sqlalchemy as sa

metadata = sa.MetaData()

# Text compares by its code points on every database.
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

applications = sa.Table(
    "applications",
    metadata,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("name", _TEXT, nullable=False, unique=True),
    sa.Column("client_id", _TEXT, nullable=False, unique=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("secrets", sa.Text, nullable=False),
)

devices = sa.Table(
    "devices",
    metadata,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("application_id", _TEXT, sa.ForeignKey("applications.id", name="fk_devices_application"), nullable=False),
    sa.Column("user_name", _TEXT, nullable=False),
    sa.Column("name", _TEXT, nullable=False),
    sa.Column("slot", sa.Integer, nullable=False),
    sa.Column("status", _TEXT, nullable=False),
    sa.Column("algorithm", _TEXT, nullable=False),
    sa.Column("digits", sa.Integer, nullable=False),
    sa.Column("period_s", sa.Integer, nullable=False),
    sa.Column("key_id", _TEXT, sa.ForeignKey("keys.id", name="fk_devices_key"), nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("last_auth_id", _TEXT, nullable=False),
    sa.Column("earlier_acceptances", _TEXT, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("locked_until_ms", sa.BigInteger, nullable=False),
    sa.Column("pending_until_ms", sa.BigInteger, nullable=False),  # 0 once it has been active
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("last_used_ms", sa.BigInteger, nullable=False),
    sa.Column("slow_failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("slow_since_ms", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("application_id", "user_name", "name", name="uq_devices_name"),
    sa.UniqueConstraint("application_id", "user_name", "slot", name="uq_devices_slot"),
    sa.Index("ix_devices_pending", "pending_until_ms", sqlite_where=sa.text("pending_until_ms > 0")),
    sa.Index("ix_devices_key_id", "key_id"),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("purpose", _TEXT, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("algorithm", _TEXT, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("public_jwk", sa.Text, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("active_from_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("purpose", "generation", name="uq_keys_generation"),
)
