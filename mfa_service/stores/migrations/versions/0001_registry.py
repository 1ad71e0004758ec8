"""The registry: applications, devices and keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the three tables and their indexes."""
    op.create_table(
        "applications",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("name", _TEXT, nullable=False, unique=True),
        sa.Column("client_id", _TEXT, nullable=False, unique=True),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("secrets", sa.Text, nullable=False),
    )
    op.create_table(
        "devices",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column(
            "application_id", _TEXT, sa.ForeignKey("applications.id", name="fk_devices_application"), nullable=False
        ),
        sa.Column("user_name", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("algorithm", _TEXT, nullable=False),
        sa.Column("digits", sa.Integer, nullable=False),
        sa.Column("period_s", sa.Integer, nullable=False),
        sa.Column("key_id", _TEXT, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("last_auth_id", _TEXT, nullable=False),
        sa.Column("earlier_acceptances", _TEXT, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locked_until_ms", sa.BigInteger, nullable=False),
        sa.Column("pending_until_ms", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("last_used_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("application_id", "user_name", "name", name="uq_devices_name"),
        sa.UniqueConstraint("application_id", "user_name", "slot", name="uq_devices_slot"),
        postgresql_with={"fillfactor": 80},
    )
    pending = sa.text("pending_until_ms > 0")
    op.create_index(
        "ix_devices_pending", "devices", ["pending_until_ms"], sqlite_where=pending, postgresql_where=pending
    )
    op.create_index("ix_devices_key_id", "devices", ["key_id"])
    op.create_table(
        "keys",
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
