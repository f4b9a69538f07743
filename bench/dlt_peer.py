"""dlt at its best sensible settings: its REST source into the same Postgres.

It runs in a virtual environment of its own, and imports nothing but dlt. The settings are those
that served it best where they were tried: an upsert by primary key, load files in CSV that go in
by COPY, files of 25,000 rows, two processes that normalise and four threads that load, nothing
compressed, and no tables for nested values.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["DATASET"]

DATASET = "bench_dlt"

_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
    "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "DATA_WRITER__FILE_MAX_ITEMS": "25000",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "25000",
    "NORMALIZE__WORKERS": "2",
    "LOAD__WORKERS": "4",
}


def _load(url: str, database_url: str, limit: int, total: int, folder: Path) -> dict[str, Any]:
    import dlt
    from dlt.sources.rest_api import rest_api_source

    cursor = {"type": "cursor", "cursor_path": "next", "cursor_param": "cursor"}
    source = rest_api_source(
        {
            "client": {"base_url": url, "paginator": cursor},
            "resources": [
                {
                    "name": "issues",
                    "primary_key": "id",
                    "write_disposition": {"disposition": "merge", "strategy": "upsert"},
                    "max_table_nesting": 0,
                    "endpoint": {
                        "path": "issues",
                        "params": {"limit": limit, "total": total},
                        "data_selector": "items",
                    },
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=str(folder),
        destination=dlt.destinations.postgres(credentials=_for_dlt(database_url)),
        dataset_name=DATASET,
    )
    cpu, began = _cpu(), time.perf_counter()
    pipeline.run(source, loader_file_format="csv")
    seconds, used = time.perf_counter() - began, _cpu() - cpu
    with pipeline.sql_client() as sql:
        rows = sql.execute_sql("SELECT count(*) FROM issues")
        sql.execute_sql(f"DROP SCHEMA {DATASET} CASCADE")  # a constant
    assert rows is not None
    assert rows[0][0] == total, f"{rows[0][0]} rows instead of {total}"
    return {"seconds": seconds, "client_cpu_s": used, "version": dlt.__version__}


def _for_dlt(database_url: str) -> str:
    """Return a URL with the host and password that dlt insists on; the socket's folder wins."""
    url = urlsplit(database_url)
    return url._replace(netloc=f"{url.username}:unused@localhost:5432").geturl()


def _cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--total", type=int, required=True)
    told = parser.parse_args()
    os.environ.update(_SETTINGS)
    with tempfile.TemporaryDirectory(prefix="perdure-bench-dlt-") as name:
        database = os.environ["BENCH_DATABASE_URL"]
        print(json.dumps(_load(told.url, database, told.limit, told.total, Path(name))))
