"""The generator's DuckDB session and the statements it runs.

Belongs here: opening DuckDB in memory with its limits, the macros, the variables every statement
reads, running a file of ``sql/`` into the table it is named after, and handing tables to Postgres.
Does not belong here: what is generated (``sql/``), or in which order (``seed``, ``simulate``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import duckdb
import psycopg
import pyarrow

from metrics.calendar import day_start

SQL_DIRECTORY = Path(__file__).parent / "sql"
SCHEMA_SQL = Path(__file__).parent / "schema.sql"
INDEXES_SQL = Path(__file__).parent / "indexes.sql"

TABLES = (
    "organizers",
    "fee_plans",
    "events",
    "ticket_types",
    "customers",
    "orders",
    "tickets",
    "payments",
    "refunds",
    "disputes",
    "check_ins",
    "checkouts",
    "page_views",
)
# In dependency order: each statement reads the tables of the ones before it.
CHUNK = (
    "carts",
    "lines",
    "order_plan",
    "cancellations",
    "cancelled_lines",
    "customers",
    "orders",
    "tickets",
    "payments",
    "refunds",
    "disputes",
    "check_ins",
    "checkouts",
)
NUMBERED = {
    "customers": "customer_id",
    "orders": "order_id",
    "tickets": "ticket_id",
    "payments": "payment_id",
    "checkouts": "checkout_id",
}
ATTACHED = "platform"


def epoch_us(instant: datetime) -> int:
    """Microseconds since 1970 of an aware instant, exactly."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def read_sql(folder: str, name: str) -> str:
    """The text of ``sql/<folder>/<name>.sql``."""
    return (SQL_DIRECTORY / folder / f"{name}.sql").read_text(encoding="utf-8")


class Engine:
    """A DuckDB session whose tables are made by the generator's statements."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, workspace: Path) -> None:
        """Wrap an open session; ``workspace`` is a folder for files that live as long as it."""
        self.connection = connection
        self.workspace = workspace

    def set_variables(self, values: Mapping[str, int | str]) -> None:
        """Set the variables that the statements read with ``getvariable``."""
        for name, value in values.items():
            self.connection.execute(f"SET VARIABLE {name} = ?", [value])

    def make(self, folder: str, *names: str) -> None:
        """Run statements of ``sql/<folder>/``, each into the table it is named after."""
        for name in names:
            self.connection.execute(f"CREATE OR REPLACE TABLE {name} AS\n{read_sql(folder, name)}")

    def make_days(self, time_zone: str, first_day: date, before: int, last_index: int) -> None:
        """Make the table ``day``: bounds of each local day, numbered from ``first_day`` (0)."""
        days = [first_day + timedelta(days=i) for i in range(-before, last_index + 2)]
        starts = [epoch_us(day_start(time_zone, day)) for day in days]
        table = pyarrow.table(
            {
                "idx": range(-before, last_index + 1),
                "view_date": days[:-1],
                "starts_us": starts[:-1],
                "ends_us": starts[1:],
                "weekday": [day.weekday() for day in days[:-1]],
                "day_of_month": [day.day for day in days[:-1]],
            }
        )
        self.connection.register("days", table)
        self.connection.execute("CREATE OR REPLACE TABLE day AS FROM days")
        self.connection.unregister("days")

    def attach(self, url: str, schema: str) -> None:
        """Attach one schema of the Postgres database as ``platform``."""
        quoted_url, quoted_schema = (text.replace("'", "''") for text in (url, schema))
        self.connection.execute(
            f"ATTACH '{quoted_url}' AS {ATTACHED} (TYPE postgres, SCHEMA '{quoted_schema}')"
        )

    def count(self, table: str) -> int:
        """Number of rows of a table."""
        row = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(row[0]) if row else 0


@contextmanager
def open_engine(
    seed: int, *, threads: int = 2, memory_limit: str = "900MB", directory: Path | None = None
) -> Iterator[Engine]:
    """Open DuckDB in memory with the generator's macros; what does not fit spills to a folder.

    Args:
        seed: Of every draw.
        threads: DuckDB's worker threads.
        memory_limit: DuckDB's own limit; the process takes some 300 MB more.
        directory: Where the temporary folder is made; the system's place if None.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ticketing-", dir=directory) as folder,
        duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": memory_limit,
                "temp_directory": str(Path(folder) / "spill"),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            }
        ) as connection,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"LOAD '{_postgres_extension()}'")
        engine = Engine(connection, Path(folder))
        engine.set_variables({"seed": seed})
        connection.execute((SQL_DIRECTORY / "macros.sql").read_text(encoding="utf-8"))
        try:
            yield engine
        except RuntimeError as error:
            # DuckDB reports a Ctrl-C during a statement this way.
            if str(error) == "Query interrupted":
                raise KeyboardInterrupt from error
            raise


def stored_columns(
    connection: psycopg.Connection[tuple[object, ...]], schema: str, tables: Sequence[str]
) -> dict[str, str]:
    """For each Postgres table, the DuckDB select list that gives its columns in order.

    Instants are microseconds since 1970 inside the generator and become timestamptz here.
    """
    rows = connection.execute(
        "SELECT table_name, string_agg(CASE WHEN data_type = 'timestamp with time zone'"
        " THEN format('make_timestamptz(%%s) AS %%s', column_name, column_name)"
        " ELSE column_name END, ', ' ORDER BY ordinal_position)"
        " FROM information_schema.columns WHERE table_schema = %s AND table_name = ANY(%s)"
        " GROUP BY table_name",
        [schema, list(tables)],
    ).fetchall()
    return {str(name): str(columns) for name, columns in rows}


def _postgres_extension() -> Path:
    """Path of the Postgres extension installed as a wheel, so that nothing is downloaded."""
    package = find_spec("duckdb_extension_postgres_scanner")
    if package is None or package.origin is None:
        raise RuntimeError(
            "the package duckdb-extension-postgres-scanner is not installed;"
            " install requirements.lock"
        )
    path = (
        Path(package.origin).parent
        / "extensions"
        / f"v{duckdb.__version__}"
        / "postgres_scanner.duckdb_extension"
    )
    if not path.exists():
        raise RuntimeError(
            f"no Postgres extension for DuckDB {duckdb.__version__} at {path};"
            " duckdb and duckdb-extension-postgres-scanner must have the same version"
        )
    return path
