"""Lines of logs know their environment, and are found by it."""

from alembic import op
from sqlalchemy import text

from perdure.db.migrations.online import make_index
from perdure.db.migrations.sql_file import run_sql

revision = "0036"
down_revision = "0035"

_LAST = text("SELECT coalesce(max(id), 0) FROM run_logs WHERE environment_id IS NULL")
_FILL = text("""
UPDATE run_logs l SET environment_id = r.environment_id
  FROM runs r
 WHERE r.id = l.run_id AND l.environment_id IS NULL AND l.id > :after AND l.id <= :until
""")
_AT_ONCE = 10_000

_INDEX = "CREATE INDEX CONCURRENTLY run_logs_of_environment ON run_logs (environment_id, id)"


def upgrade() -> None:
    run_sql("0036_logs_of_environments.sql")
    with op.get_context().autocommit_block():
        last: int = op.get_bind().execute(_LAST).scalar_one()
        for after in range(0, last, _AT_ONCE):
            op.get_bind().execute(_FILL, {"after": after, "until": after + _AT_ONCE})
    make_index("run_logs_of_environment", _INDEX)
