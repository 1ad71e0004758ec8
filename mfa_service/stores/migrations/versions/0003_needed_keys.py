"""A device's key must be there: no key goes that a device needs, and no device comes that needs one that is gone.

The version before seals with keys that are there, and writes on. Devices that are there already are left as they are,
whatever key they name: on PostgreSQL the constraint is not held against them, which also spares a scan under a lock.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

_NAME = "fk_devices_key"


def upgrade() -> None:
    """Add the constraint; SQLite takes one only with a new table."""
    if op.get_context().dialect.name == "postgresql":
        op.create_foreign_key(_NAME, "devices", "keys", ["key_id"], ["id"], postgresql_not_valid=True)
        return
    with op.batch_alter_table("devices", recreate="always") as devices:
        devices.create_foreign_key(_NAME, "keys", ["key_id"], ["id"])
