"""How far the rotation of encryption keys is, and which key a ciphertext names."""

from perdure.db.migrations.sql_file import run_sql

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run_sql("0022_key_rotation.sql")
