"""Runs the SQL file of a revision."""

from __future__ import annotations

from importlib import resources

from alembic import op
from sqlalchemy.util import await_only

__all__ = ["run_sql"]


def run_sql(name: str) -> None:
    """Execute a file of `sql/` on the migration's connection, inside its transaction.

    It goes past SQLAlchemy to asyncpg's simple protocol, which takes many statements and
    plpgsql bodies as they are; a prepared statement could hold only one.
    """
    sql = resources.files(__package__).joinpath("sql", name).read_text(encoding="utf-8")
    driver_connection = op.get_bind().connection.driver_connection
    if driver_connection is None:
        msg = "Migrations need a live connection; offline mode is not supported."
        raise RuntimeError(msg)
    await_only(driver_connection.execute(sql))
