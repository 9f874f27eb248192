"""The life of a report: its state and who signed it, its steps, where facts differ from it, what it goes over, who answered why."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _report() -> tuple[sa.Column[Any], ...]:
    """Return the new columns; their defaults are what rows of the first schema say, which had drafts only."""
    return (
        sa.Column("state", sa.String(length=16), nullable=False, server_default="draft"),
        sa.Column("facts_hash", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("signer", sa.Text(), nullable=False, server_default=""),
        sa.Column("signer_organisation", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("signer_code", sa.String(length=16), nullable=False, server_default=""),
        sa.Column("signer_scheme", sa.String(length=16), nullable=False, server_default=""),
        sa.Column("signer_meaning", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=True),
    )


def _answer() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("observer", sa.Text(), nullable=False, server_default=""),
    )


def upgrade() -> None:
    """Apply."""
    for column in _report():
        op.add_column("report", column)
    for column in _answer():
        op.add_column("answer", column)
    report = sa.table("report", sa.column("facts_hash"), sa.column("content_hash"))
    # a draft of the first schema says what the facts said, and nothing else
    op.execute(report.update().values(facts_hash=report.c.content_hash))
    op.create_table(
        "report_transition",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("state_before", sa.String(length=16), nullable=False),
        sa.Column("state_after", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], name=op.f("fk_report_transition_report_id_report")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_transition")),
    )
    op.create_index(op.f("ix_report_transition_report_id"), "report_transition", ["report_id"], unique=False)
    op.create_index(
        op.f("ix_report_transition_study_instance_uid"), "report_transition", ["study_instance_uid"], unique=False
    )
    op.create_table(
        "report_difference",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("item", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("stands", sa.Text(), nullable=False),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], name=op.f("fk_report_difference_report_id_report")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_difference")),
    )
    op.create_index(op.f("ix_report_difference_report_id"), "report_difference", ["report_id"], unique=False)
    op.create_table(
        "report_source",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("use", sa.String(length=16), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], name=op.f("fk_report_source_report_id_report")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_source")),
    )
    op.create_index(op.f("ix_report_source_report_id"), "report_source", ["report_id"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_report_source_report_id"), table_name="report_source")
    op.drop_table("report_source")
    op.drop_index(op.f("ix_report_difference_report_id"), table_name="report_difference")
    op.drop_table("report_difference")
    op.drop_index(op.f("ix_report_transition_study_instance_uid"), table_name="report_transition")
    op.drop_index(op.f("ix_report_transition_report_id"), table_name="report_transition")
    op.drop_table("report_transition")
    for column in _answer():
        op.drop_column("answer", column.name)
    for column in _report():
        op.drop_column("report", column.name)
