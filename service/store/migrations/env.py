"""Alembic's entry: runs migrations on the connection that `service.store.schema` hands over."""

from __future__ import annotations

from alembic import context

from service.store.schema import is_ours
from service.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    include_name=lambda name, kind, _parents: is_ours(name, kind),
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
