"""Which patient and order a version of a report names, as a hash: a correction of them is issued, whatever the content."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; of versions that are there it is not known, which counts as unchanged."""
    op.add_column("report", sa.Column("identity_hash", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    op.drop_column("report", "identity_hash")
