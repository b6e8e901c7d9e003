"""What Alembic runs: the migrations, inside the transaction that `app.store.schema.migrate` holds."""

from alembic import context

from app.store.schema.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
