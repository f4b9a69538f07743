"""Alembic's environment of the database; the schema itself is raw SQL."""
