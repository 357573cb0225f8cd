"""The lake: DuckLake tables in object storage, with DuckDB as the engine.

Belongs here: DuckDB sessions with the lake attached, the lake's tables, and the one way days are
replaced. Does not belong here: what the rows are (``resources.source_contract``) or the
statements over them (``assets/sql``).

Files are written first, without a lock; the commit that swaps days is short and
serialized by an advisory lock in the catalog, because DuckLake refuses concurrent commits to one
table. A file counts only from that commit on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psycopg

from metrics.calendar import DayRange
from resources.duckdb_postgres import create_postgres_secret, quote
from resources.source_contract import BUYER_IDENTITY, BUYER_KEY, FACTS, Fact
from resources.spill_folders import spill_folder

_COMMIT_LOCK = "boxoffice lake commit"
_EXTENSIONS = ("httpfs", "postgres_scanner", "ducklake")
_CREDENTIAL_CHAIN = "aws"
"""The extension that asks the AWS default chain; loaded only where no key is given."""
_DUCKDB_TYPES = {
    "bigint": "BIGINT",
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "timestamptz": "TIMESTAMPTZ",
    "date": "DATE",
}
BUSINESS_DATE = "business_date"
SOURCE_TOTALS = "source_totals"
_SOURCE_TOTALS_COLUMNS = {
    BUSINESS_DATE: "DATE",
    "fact": "VARCHAR",
    "organizer_id": "BIGINT",
    "currency": "VARCHAR",
    "measure": "VARCHAR",
    "value": "BIGINT",
    "source_snapshot_at": "TIMESTAMPTZ",
}


class LakeCredentialsError(RuntimeError):
    """No credentials for the lake's bucket are given or found; says how to give them."""


class SnapshotExpiredError(RuntimeError):
    """The lake can no longer be read as it was at a snapshot."""


def flag(day_column: str) -> str:
    """Column that says whether an instant falls on the row's own business date."""
    return f"is_{day_column.removesuffix('_at')}_day"


def sale_date_source(fact: Fact) -> str | None:
    """The column whose reporting day is the sale's own day, kept as ``sale_date``."""
    names = {column.name for column in fact.columns}
    if "sold_at" in names:
        return "sold_at"
    return "issued_at" if fact.name == "tickets" else None


def table_columns(fact: Fact) -> dict[str, str]:
    """Columns of a fact's lake table with their DuckDB types, in order.

    A buyer's identity is stored only as ``buyer_key``. A daily fact begins with its business date;
    one with several days ends with a flag for each.
    """
    columns: dict[str, str] = {} if fact.is_catalogue else {BUSINESS_DATE: "DATE"}
    for column in fact.columns:
        if column.name == BUYER_IDENTITY:
            columns[BUYER_KEY] = "UUID"
        else:
            columns[column.name] = _DUCKDB_TYPES[column.type]
    if sale_date_source(fact):
        columns["sale_date"] = "DATE"
    if len(fact.days) > 1:
        columns.update({flag(day): "BOOLEAN" for day in fact.days})
    return columns


@dataclass(frozen=True)
class Lake:
    """Where the lake is and how to reach it.

    Attributes:
        catalog_url: ``postgresql://`` URL of the catalog database.
        bucket: bucket of the Parquet files.
        endpoint_url: S3 endpoint; None for AWS itself.
        access_key_id: None for the AWS default chain.
        memory_limit: DuckDB's, per session.
        threads: DuckDB's, per session.
        spill_directory: where sessions make the folders they spill to; None for the system's.
    """

    catalog_url: str = field(repr=False)
    bucket: str
    region: str
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    memory_limit: str = "512MB"
    threads: int = 2
    spill_directory: str | None = None

    @property
    def data_path(self) -> str:
        """Prefix of every file of the lake."""
        return f"s3://{self.bucket}/lake/"

    @contextmanager
    def session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """An in-memory DuckDB with the lake attached as ``lake``; spills to a temporary folder.

        Raises:
            LakeCredentialsError: nothing says who this is for the bucket.
        """
        with (
            spill_folder(self.spill_directory) as spill,
            duckdb.connect(
                config={
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    # Their wheels' hashes are pinned; checking signatures takes 0.3 s a session.
                    "allow_unsigned_extensions": "true",
                    "memory_limit": self.memory_limit,
                    "threads": str(self.threads),
                    "temp_directory": str(spill),
                    "preserve_insertion_order": "false",
                }
            ) as connection,
        ):
            for name in _EXTENSIONS:
                connection.execute(f"LOAD '{_extension_path(name)}'")
            connection.execute("SET TimeZone = 'UTC'")
            self._create_s3_secret(connection)
            self._attach(connection, "lake")
            try:
                yield connection
            except RuntimeError as error:
                # DuckDB wraps a request to stop in a RuntimeError, which would be retried.
                if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
                    raise error.__cause__ from None
                raise

    def attach_snapshot(
        self, connection: duckdb.DuckDBPyConnection, snapshot: int, name: str
    ) -> None:
        """Attach the lake as it was at a snapshot, beside the one of the session.

        Raises:
            SnapshotExpiredError: the snapshot is older than the lake's retention.
        """
        try:
            self._attach(connection, name, f", SNAPSHOT_VERSION {snapshot}")
        except duckdb.InvalidInputException as error:
            raise SnapshotExpiredError(
                f"lake snapshot {snapshot} can no longer be read; BOXOFFICE_LAKE_RETENTION_DAYS"
                " says how long snapshots are kept"
            ) from error

    def _attach(self, connection: duckdb.DuckDBPyConnection, name: str, options: str = "") -> None:
        others = create_postgres_secret(connection, self.catalog_url, name)
        connection.execute(
            f"ATTACH {quote(f'ducklake:postgres:{others}')} AS {name}"
            f" (DATA_PATH {quote(self.data_path)}, META_SECRET '{name}_login'{options})"
        )

    def _create_s3_secret(self, connection: duckdb.DuckDBPyConnection) -> None:
        if self.access_key_id is not None:
            connection.execute(self._s3_secret())
            return
        connection.execute(f"LOAD '{_extension_path(_CREDENTIAL_CHAIN)}'")
        try:
            connection.execute(self._s3_secret())
        except duckdb.Error as error:
            raise LakeCredentialsError(
                f"no credentials for the bucket {self.bucket}: BOXOFFICE_S3_ACCESS_KEY_ID is not"
                " set, and the AWS default chain (environment, profile, role of the container or"
                " instance) has none; set the former, or give this process one of the latter"
            ) from error

    def _s3_secret(self) -> str:
        options = [f"REGION {quote(self.region)}"]
        if self.access_key_id is None:
            # Credentials of a role expire, within the hour for some: they are fetched anew.
            options += ["PROVIDER credential_chain", "REFRESH auto"]
        else:
            options += [
                f"KEY_ID {quote(self.access_key_id)}",
                f"SECRET {quote(self.secret_access_key or '')}",
            ]
        if self.endpoint_url is not None:
            url = urlsplit(self.endpoint_url)
            options += [
                f"ENDPOINT {quote(url.netloc)}",
                "URL_STYLE 'path'",
                f"USE_SSL {str(url.scheme == 'https').lower()}",
            ]
        return f"CREATE SECRET s3 (TYPE s3, {', '.join(options)})"

    def create_tables(self, views: Mapping[str, str]) -> None:
        """Create what is missing of the lake's tables, and its views anew.

        Args:
            views: statement by name, for example the ledger ``movements``.
        """
        with self.session() as connection, self.commit(connection):
            existing = {
                row[0]
                for row in connection.execute(
                    "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'"
                ).fetchall()
            }
            tables = {fact.table: table_columns(fact) for fact in FACTS.values()}
            for name, columns in {**tables, SOURCE_TOTALS: _SOURCE_TOTALS_COLUMNS}.items():
                if name not in existing:
                    typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
                    connection.execute(f"CREATE TABLE lake.{name} ({typed})")
            connection.execute("USE lake")
            for name, statement in views.items():
                connection.execute(f"CREATE OR REPLACE VIEW lake.{name} AS {statement}")

    @contextmanager
    def commit(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """One commit to the lake, alone: the lock is released even if the process dies."""
        with psycopg.connect(self.catalog_url, autocommit=True) as catalog:
            catalog.execute("SELECT pg_advisory_lock(hashtext(%s))", (_COMMIT_LOCK,))
            connection.execute("BEGIN")
            try:
                yield
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def stage(
        self, connection: duckdb.DuckDBPyConnection, table: str, select: str, token: str
    ) -> Staged:
        """Write a statement's rows as one Parquet file, which no reader sees yet.

        One file for all days of a run, not one for each: reading is bound by the number of files,
        and DuckLake skips files and row groups by the days they hold.

        Args:
            select: statement that returns the table's columns; others are stored, and ignored.
            token: unique to the attempt; names the file.
        """
        path = f"{self.data_path}{table}/{token}.parquet"
        written = connection.execute(
            f"COPY ({select}) TO '{path}' (FORMAT parquet, COMPRESSION zstd,"
            " WRITE_EMPTY_FILE false, RETURN_STATS)"
        ).fetchone()
        if written is None or not written[1]:
            return Staged(None, 0, {})
        values = {
            column.strip('"'): int(figures["num_values"]) - int(figures["null_count"])
            for column, figures in written[4].items()
            if "null_count" in figures
        }
        return Staged(path, int(written[1]), values)

    def tidy(self, keep: timedelta, abandoned_after: timedelta) -> TidyReport:
        """Merge small files, forget old snapshots and delete the files nothing names any more.

        Args:
            keep: how far back the lake can still be read as it was.
            abandoned_after: age at which a file that no commit names was left by a killed run.
        """
        with self.session() as connection:
            with self.commit(connection):
                connection.execute("CALL ducklake_rewrite_data_files('lake')")
            with self.commit(connection):
                connection.execute("CALL ducklake_merge_adjacent_files('lake')")
            with self.commit(connection):
                expired = connection.execute(
                    "CALL ducklake_expire_snapshots('lake', older_than => now() - $keep)",
                    {"keep": keep},
                ).fetchall()
            replaced = connection.execute(
                "CALL ducklake_cleanup_old_files('lake', cleanup_all => true)"
            ).fetchall()
            abandoned = connection.execute(
                "CALL ducklake_delete_orphaned_files('lake', older_than => now() - $age)",
                {"age": abandoned_after},
            ).fetchall()
        return TidyReport(len(expired), len(replaced), len(abandoned))


@dataclass(frozen=True)
class Staged:
    """A file that no commit names yet.

    Attributes:
        path: for ``replace_days``; None where there are no rows, and so no file.
        values: how many values of each column are not NULL.
    """

    path: str | None
    row_count: int
    values: dict[str, int]


@dataclass(frozen=True)
class TidyReport:
    """What ``Lake.tidy`` removed: snapshots, files they named, and files no commit ever named."""

    snapshots: int
    replaced_files: int
    abandoned_files: int


def replace_days(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    days: DayRange,
    path: str | None,
    *,
    facts: Sequence[Fact] = (),
) -> None:
    """Within ``Lake.commit``: swap in a staged file for every day of a range.

    Args:
        path: from ``Lake.stage``; None leaves the days without rows.
        facts: only the rows of these facts are replaced, in a table that holds several.
    """
    names = ", ".join(quote(fact.name) for fact in facts)
    connection.execute(
        f"DELETE FROM lake.{table} WHERE {BUSINESS_DATE}"
        f" BETWEEN DATE '{days.first}' AND DATE '{days.last}'"
        f"{f' AND fact IN ({names})' if names else ''}"
    )
    if path is not None:
        connection.execute(
            f"CALL ducklake_add_data_files('lake', '{table}', {quote(path)},"
            " ignore_extra_columns => true)"
        )


def replace_table(connection: duckdb.DuckDBPyConnection, table: str, relation: str) -> bool:
    """Within ``Lake.commit``: replace a whole table by a relation; False where it is the same."""
    if not _differs(connection, f"lake.{table}", relation):
        return False
    connection.execute(f"DELETE FROM lake.{table}")
    connection.execute(f"INSERT INTO lake.{table} BY NAME FROM {relation}")
    return True


def current_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    """Number of the lake snapshot that the session sees."""
    row = connection.execute("SELECT id FROM lake.current_snapshot()").fetchone()
    if row is None:
        raise RuntimeError("the lake has no snapshot; run `boxoffice migrate`")
    return int(row[0])


def oldest_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    """Number of the oldest lake snapshot that can still be read."""
    row = connection.execute("SELECT min(snapshot_id) FROM ducklake_snapshots('lake')").fetchone()
    if row is None or row[0] is None:
        raise RuntimeError("the lake has no snapshot; run `boxoffice migrate`")
    return int(row[0])


def _differs(connection: duckdb.DuckDBPyConnection, old: str, new: str) -> bool:
    columns = ", ".join(row[0] for row in connection.execute(f"DESCRIBE {new}").fetchall())
    row = connection.execute(
        f"SELECT EXISTS (SELECT {columns} FROM {old} EXCEPT ALL SELECT {columns} FROM {new})"
        f" OR EXISTS (SELECT {columns} FROM {new} EXCEPT ALL SELECT {columns} FROM {old})"
    ).fetchone()
    return bool(row and row[0])


def _extension_path(name: str) -> Path:
    spec = find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package duckdb-extension-{name} is not installed")
    return next(Path(spec.origin).parent.rglob(f"{name}.duckdb_extension"))
