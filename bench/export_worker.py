"""The programs that write one export, each a process of its own: ``python -m bench.export_worker``.

Belongs here: the product's way, the same from a plain table, and what Python and Postgres bring.
Does not belong here: measuring (``bench.measure``), or the peers in Node (``bench/node``).

Takes a file with the job, as JSON; the object must be complete in S3 when the process ends.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from zoneinfo import ZoneInfo

BEGAN = time.time()

import psutil  # noqa: E402
import psycopg  # noqa: E402
from psycopg.rows import dict_row  # noqa: E402

from bench.export_rows import COLUMNS, TIME_ZONE  # noqa: E402
from bench.measure import Stages, write_report  # noqa: E402
from pipelines.settings import Settings, get_settings  # noqa: E402

if TYPE_CHECKING:
    from exports.reading import Sources

Job = dict[str, Any]
Result = dict[str, int]
_BLOCK = 2**20


def product(job: Job, stages: Stages) -> Result:
    """As an export run does: rows of the lake counted, masked, written, checked, uploaded."""
    from exports.masking import Requester, Role
    from exports.options import parse_options
    from exports.reading import open_rows
    from exports.requests import Catalogue, validate
    from exports.spill import spill
    from exports.writing import write_export

    settings, libraries = get_settings(), _loaded()
    request = validate(
        "attendees",
        {"events": [job["event"]], "kinds": ["admission"]},
        COLUMNS,
        Requester(role=Role.SUPER_ADMIN, reason="measuring exports"),
        Catalogue(events={job["event"]: 1}),
    )
    options = parse_options(job["format"], {}, request.dataset)
    opened = time.time()
    with open_rows(_sources(settings), request) as rows:
        stages.intervals.append(("count", opened, time.time()))
        with stages.stage("render"), _upload(job) as target:
            written = write_export(
                rows, job["format"], options, target, lambda: spill(None, 0), lambda _: None
            )
    return {
        "rows": written.result.rows,
        "bytes": written.result.bytes,
        "libraries_bytes": libraries,
    }


def table(job: Job, stages: Stages) -> Result:
    """The product's writers, on rows that lie ready in a table of Postgres."""
    import polars as pl

    from exports.columns import Description
    from exports.datasets import EXPORTS
    from exports.formats.registry import FORMATS
    from exports.spill import spill

    settings, libraries = get_settings(), _loaded()
    attendees = EXPORTS["attendees"]
    description = Description(
        title=attendees.title,
        columns=tuple(attendees.by_name[name].written() for name in COLUMNS),
        data_version="bench",
        as_of=datetime(2026, 6, 30, tzinfo=UTC),
        time_zone=ZoneInfo(TIME_ZONE),
    )
    kind = FORMATS[job["format"]]
    with _sources(settings).lake.session() as connection:
        quoted = job["database_url"].replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS source (TYPE postgres, READ_ONLY)")
        # Sorted by Postgres, along its primary key: DuckDB only passes the rows on.
        query = f"FROM postgres_query('source', $${job['query']}$$)"
        batches = connection.execute(query).to_arrow_reader(16_384)
        frames = (cast("pl.DataFrame", pl.from_arrow(batch)) for batch in batches)
        with stages.stage("render"), _upload(job) as target:
            if kind.seeks:
                with spill(None, 0) as file:
                    result = kind.write(frames, description, file, lambda: spill(None, 0))
                    file.seek(0)
                    shutil.copyfileobj(file, target, _BLOCK)
            else:
                result = kind.write(frames, description, target)
    return {"rows": result.rows, "bytes": result.bytes, "libraries_bytes": libraries}


def python_json(job: Job, stages: Stages) -> Result:
    """Python's ``json``, row by row from a cursor of the server."""
    rows = 0
    with stages.stage("render"), _upload(job) as target:
        separator = b'{"rows": [\n'
        with (
            psycopg.connect(job["database_url"]) as connection,
            connection.cursor("rows", row_factory=dict_row) as cursor,
        ):
            cursor.itersize = 5_000
            zone = ZoneInfo(TIME_ZONE)
            cursor.execute(job["query"].encode())
            for row in cursor:
                for name in ("issued_at", "checked_in_at"):
                    if row[name] is not None:
                        row[name] = row[name].astimezone(zone).isoformat()
                row["charged"] = {
                    "minor_units": row["charged"],
                    "currency": row["currency"],
                    "decimal": str(Decimal(row["charged"]).scaleb(-2)),
                }
                target.write(separator + json.dumps(row, ensure_ascii=False).encode())
                separator = b",\n"
                rows += 1
        target.write(b"\n]}\n")
    return {"rows": rows}


def copy(job: Job, stages: Stages) -> Result:
    """Postgres alone: ``COPY TO STDOUT`` as CSV, nothing looked at on the way."""
    with (
        stages.stage("render"),
        _upload(job) as target,
        psycopg.connect(job["database_url"]) as connection,
        connection.cursor() as cursor,
    ):
        statement = f"COPY ({job['query']}) TO STDOUT (FORMAT csv, HEADER)"
        with cursor.copy(statement.encode()) as stream:
            # A chunk is a row: without a buffer most of the time goes into handing them on.
            held, size = [], 0
            for chunk in stream:
                held.append(chunk)
                size += len(chunk)
                if size >= _BLOCK:
                    target.write(b"".join(held))
                    held, size = [], 0
            target.write(b"".join(held))
        return {"rows": cursor.rowcount}


PROGRAMS: dict[str, Callable[[Job, Stages], Result]] = {
    "product": product,
    "table": table,
    "python-json": python_json,
    "copy": copy,
}


def _sources(settings: Settings) -> Sources:
    """As ``pipelines.definitions`` makes them, without loading Dagster."""
    from exports.reading import Sources
    from resources.lake import Lake

    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    lake = Lake(
        catalog_url=settings.lake_catalog_url.get_secret_value(),
        bucket=settings.lake_bucket,
        region=settings.s3_region,
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=key.get_secret_value() if key else None,
        secret_access_key=secret.get_secret_value() if secret else None,
        memory_limit=settings.exports_memory_limit,
        threads=settings.duckdb_threads,
    )
    return Sources(
        lake=lake,
        warehouse_url=settings.warehouse_url.get_secret_value(),
        buyer_key_secret=settings.buyer_key_secret.get_secret_value(),
        time_zone=settings.time_zone,
    )


@contextmanager
def _upload(job: Job) -> Iterator[BinaryIO]:
    from resources.bucket import Bucket

    settings = get_settings()
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    bucket = Bucket(
        name=settings.exports_bucket,
        region=settings.s3_region,
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=key.get_secret_value() if key else None,
        secret_access_key=secret.get_secret_value() if secret else None,
        server_side_encryption=settings.exports_encryption or None,
    )
    with bucket.upload(job["key"], content_type=job["content_type"]) as target:
        yield target


def _loaded() -> int:
    """Resident memory with every library loaded and no row read yet."""
    import duckdb
    import pyarrow as pa

    import resources.bucket  # noqa: F401

    with duckdb.connect() as connection:
        pa.table(connection.execute("SELECT 1 AS one").to_arrow_table())
    return int(psutil.Process().memory_info().rss)


def main() -> None:
    """Write the export of the job file that is named on the command line."""
    job = json.loads(Path(sys.argv[1]).read_text())
    stages = Stages()
    result = PROGRAMS[job["program"]](job, stages)
    write_report(Path(job["report"]), BEGAN, stages, result)


if __name__ == "__main__":
    main()
