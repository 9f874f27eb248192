"""Schema migrations (Alembic), run by `service.store.schema`."""
