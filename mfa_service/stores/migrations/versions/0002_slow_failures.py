"""The slow counter of a device's wrong codes, which no right code clears.

Both columns have defaults: the version before registers devices without them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the count and the moment that it began at."""
    op.add_column("devices", sa.Column("slow_failures", sa.Integer, nullable=False, server_default="0"))
    op.add_column("devices", sa.Column("slow_since_ms", sa.BigInteger, nullable=False, server_default="0"))
