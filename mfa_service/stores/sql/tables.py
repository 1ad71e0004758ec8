"""The registry's tables, as this version reads and writes them; the migrations make them."""

import sqlalchemy as sa

metadata = sa.MetaData()

# Names compare by their code points on every database.
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

applications = sa.Table(
    "applications",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", _NAME, nullable=False, unique=True),
    sa.Column("client_id", _NAME, nullable=False, unique=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("secrets", sa.Text, nullable=False),
)

devices = sa.Table(
    "devices",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("application_id", sa.Text, nullable=False),
    sa.Column("user_name", _NAME, nullable=False),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("slot", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("algorithm", sa.Text, nullable=False),
    sa.Column("digits", sa.Integer, nullable=False),
    sa.Column("period_s", sa.Integer, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("last_auth_id", sa.Text, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("locked_until_ms", sa.BigInteger, nullable=False),
    sa.Column("pending_until_ms", sa.BigInteger, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("last_used_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("application_id", "user_name", "name", name="uq_devices_name"),
    sa.UniqueConstraint("application_id", "user_name", "slot", name="uq_devices_slot"),
    sa.Index(
        "ix_devices_pending",
        "pending_until_ms",
        sqlite_where=sa.text("status = 'PENDING'"),
        postgresql_where=sa.text("status = 'PENDING'"),
    ),
    sa.Index("ix_devices_user_name", "user_name"),
    sa.Index("ix_devices_key_id", "key_id"),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("algorithm", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("public_jwk", sa.Text, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("active_from_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("purpose", "generation", name="uq_keys_generation"),
)
