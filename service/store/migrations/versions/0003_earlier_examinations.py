"""Earlier examinations: what nodes were asked for, and which studies are here for that alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("study", sa.Column("fetched", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "prior_ask",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", name=op.f("pk_prior_ask")),
    )
    op.create_table(
        "prior_study",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("prior_study_uid", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prior_study")),
        sa.UniqueConstraint("study_instance_uid", "prior_study_uid", name=op.f("uq_prior_study_study_instance_uid")),
    )
    op.create_index(op.f("ix_prior_study_study_instance_uid"), "prior_study", ["study_instance_uid"], unique=False)
    op.create_table(
        "prior_object",
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("prior_study_uid", sa.String(length=64), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sop_instance_uid", name=op.f("pk_prior_object")),
    )
    op.create_index(op.f("ix_prior_object_prior_study_uid"), "prior_object", ["prior_study_uid"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_prior_object_prior_study_uid"), table_name="prior_object")
    op.drop_table("prior_object")
    op.drop_index(op.f("ix_prior_study_study_instance_uid"), table_name="prior_study")
    op.drop_table("prior_study")
    op.drop_table("prior_ask")
    op.drop_column("study", "fetched")
