"""Postgres and Temporal out of Python wheels, as child processes that never outlive their parent.

`embedded_postgres` and `embedded_temporal` are all that tests and tools need; `perdure dev`
supervises the same `Service` descriptions for as long as it runs.
"""

from __future__ import annotations

from perdure.embedded.postgres import embedded_postgres
from perdure.embedded.temporal import embedded_temporal

__all__ = ["embedded_postgres", "embedded_temporal"]
