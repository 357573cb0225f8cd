"""Loads plain CSV files into the source tables: ``boxoffice import``.

Belongs here: the order of an import, its one transaction, and its report. Does not belong here: the
formats (``import_files``), reading and converting (``import_reader``, ``import_cells``), the rules
across rows and the load itself (``sql/import``).

How it goes: files are streamed, converted cell by cell and copied into temporary tables; statements
then check rows against each other; what passed is inserted. A refused row is never dropped in
silence: it is in the report with its file, line and reason, and so is every row that depends on it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

from local.ticketing import import_cells as cells
from local.ticketing.engine import INDEXES_SQL, SCHEMA_SQL, TABLES, read_sql
from local.ticketing.import_files import FORMATS, FileFormat
from local.ticketing.import_reader import CsvFile, Parent, Parents, Problem, RowReader
from metrics.money import currency_exponents

Connection = psycopg.Connection[tuple[Any, ...]]
Progress = Callable[[str, float | None], None]

REPORT_COLUMNS = ("file", "line", "column", "value", "reason")
_BATCH_ROWS = 20_000


class ImportFailedError(RuntimeError):
    """An import that could not begin; the message says what to do. Nothing was changed."""


@dataclass
class FileReport:
    """What became of one file.

    Attributes:
        rows: rows below the header, without blank lines.
        refused: rows that cannot be loaded.
        blank_lines: lines without any text, passed over.
        ignored_columns: columns of the file that mean nothing to an import.
    """

    rows: int = 0
    refused: int = 0
    blank_lines: int = 0
    ignored_columns: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """Rows that can be loaded."""
        return self.rows - self.refused


@dataclass
class ImportReport:
    """What an import did.

    Attributes:
        files: by file name, in the order they were read.
        reasons: file, column, reason and the number of rows, most frequent first per file.
        ignored_files: CSV files of the folder that mean nothing to an import.
        is_loaded: False: rows were refused, so nothing was changed.
        created_ticket_types: admission types made for tickets without one.
        created_customers: customers made of the orders' buyers.
        first_order: instant at which the first order was placed, in UTC.
        last_order: instant at which the last order was placed, in UTC.
        time_zones: zones of the events.
    """

    files: dict[str, FileReport] = field(default_factory=dict)
    reasons: list[tuple[str, str, str, int]] = field(default_factory=list)
    ignored_files: list[str] = field(default_factory=list)
    is_loaded: bool = False
    created_ticket_types: int = 0
    created_customers: int = 0
    first_order: datetime | None = None
    last_order: datetime | None = None
    time_zones: list[str] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """Refused rows of all files."""
        return sum(file.refused for file in self.files.values())


class _RefusedRowsError(Exception):
    """Ends the transaction of an import that must not load anything."""


def import_folder(
    owner_url: str,
    folder: Path,
    report_path: Path,
    *,
    time_zone: str | None = None,
    allow_refused: bool = False,
    replace: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Load the CSV files of a folder in one transaction.

    Args:
        owner_url: ``postgresql://`` URL of the source's owner.
        folder: holds organizers.csv, events.csv, orders.csv and optionally the others.
        report_path: where refused rows are written, one line per problem; always written.
        time_zone: IANA zone of local times whose row, event and organizer name none.
        allow_refused: load the rows that passed although others were refused.
        replace: empty the platform's tables first; without it they must be empty.
        progress: called with what is being done and the share done (0 to 1), if known.

    Raises:
        ImportFailedError: a file or column is missing, the database is not empty, or it holds other
            tables than the sample platform's.
    """
    tell = progress or (lambda _what, _share: None)
    files = _open_files(folder)
    try:
        zone = cells.time_zone(time_zone) if time_zone else None
    except cells.CellError as error:
        raise ImportFailedError(f"--time-zone {time_zone!r} {error.reason}") from None
    report = ImportReport(ignored_files=_ignored_files(folder))
    with psycopg.connect(owner_url) as connection:
        try:
            with connection.transaction():
                is_new = _prepare(connection, replace)
                _stage(connection, files, zone, report, tell)
                tell("writing the report", None)
                _summarize(connection, report, report_path)
                if report.refused and not allow_refused:
                    raise _RefusedRowsError
                tell("loading", None)
                _load(connection)
                if is_new:
                    tell("making indexes", None)
                    connection.execute(INDEXES_SQL.read_bytes())
                report.is_loaded = True
        except _RefusedRowsError:
            return report
        connection.execute(
            sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(map(sql.Identifier, TABLES)))
        )
    return report


def _open_files(folder: Path) -> dict[FileFormat, CsvFile]:
    if not folder.is_dir():
        raise ImportFailedError(f"{folder} is not a folder")
    missing = [f.name for f in FORMATS if f.required and not (folder / f.name).is_file()]
    if missing:
        raise ImportFailedError(f"{folder} has no {', '.join(missing)}; an import needs them")
    wrong: list[str] = []
    opened = {}
    for file_format in FORMATS:
        path = folder / file_format.name
        if not path.is_file():
            continue
        try:
            file = CsvFile(path)
            RowReader(file_format, file.header, None, None)
            opened[file_format] = file
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ImportFailedError("\n".join(wrong))
    return opened


def _ignored_files(folder: Path) -> list[str]:
    known = {file_format.name for file_format in FORMATS}
    return sorted(path.name for path in folder.glob("*.csv") if path.name not in known)


def _prepare(connection: Connection, replace: bool) -> bool:
    """Make sure the platform's tables are there and empty; tells whether they are new."""
    connection.execute("SET LOCAL TimeZone = 'UTC'")
    connection.execute("SET LOCAL work_mem = '64MB'")
    connection.execute(read_sql("import", "staging").encode())
    rows = connection.execute(
        "SELECT relname FROM pg_class"
        " WHERE oid = ANY(SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)",
        [list(TABLES)],
    ).fetchall()
    found = {name for (name,) in rows}
    if not found:
        connection.execute(SCHEMA_SQL.read_bytes())
        return True
    if missing := [table for table in TABLES if table not in found]:
        raise ImportFailedError(
            f"the database has tables of another platform (there is no {', '.join(missing)});"
            " import into an empty database"
        )
    _require_columns(connection)
    tables = sql.SQL(", ").join(map(sql.Identifier, TABLES))
    if replace:
        connection.execute(sql.SQL("TRUNCATE {}").format(tables))
        return False
    filled = [
        table
        for table in TABLES
        if connection.execute(
            sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(table))
        ).fetchall()
    ]
    if filled:
        raise ImportFailedError(
            f"the source already has rows (in {', '.join(filled)});"
            " --replace deletes all rows of the platform first"
        )
    return False


def _require_columns(connection: Connection) -> None:
    """Refuse tables that only share their names with the sample platform's."""
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE SCHEMA import_expected; SET LOCAL search_path = import_expected")
        connection.execute(SCHEMA_SQL.read_bytes())
        expected = _columns(connection)
    if difference := expected ^ _columns(connection):
        names = ", ".join(sorted(f"{table}.{column}" for table, column in difference))
        raise ImportFailedError(
            f"the database has tables of another platform (they differ in {names});"
            " import into an empty database"
        )


def _columns(connection: Connection) -> set[tuple[str, str]]:
    rows = connection.execute(
        "SELECT c.relname, a.attname FROM unnest(%s::text[]) AS t (name)"
        " JOIN pg_class c ON c.oid = to_regclass(t.name)"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped",
        [list(TABLES)],
    ).fetchall()
    return {(table, column) for table, column in rows}


def _stage(
    connection: Connection,
    files: dict[FileFormat, CsvFile],
    zone: ZoneInfo | None,
    report: ImportReport,
    tell: Progress,
) -> None:
    """Bring every file into its temporary table and take out the rows that break a rule."""
    with connection.cursor() as cursor, cursor.copy("COPY import_currencies FROM STDIN") as copy:
        for row in currency_exponents().items():
            copy.write_row(row)
    parents: Parents | None = None
    for file_format, file in files.items():
        counts = report.files[file_format.name] = FileReport()
        reader = RowReader(file_format, file.header, parents, zone)
        counts.ignored_columns = reader.ignored
        with connection.cursor() as cursor, cursor.copy("COPY import_columns FROM STDIN") as copy:
            for staged, header in reader.header_names.items():
                copy.write_row((file_format.name, staged, header))
        _copy(connection, file_format, file, reader, counts, tell)
        tell(f"checking {file_format.name}", None)
        connection.execute(_formatted("ANALYZE {staged}", file_format))
        _check(connection, file_format, "duplicates")
        match file_format.table:
            case "organizers":
                parents = _parents(connection, file_format)
            case "events":
                _check(connection, file_format, "check_events")
                parents = _parents(connection, file_format)
            case "orders":
                _check(connection, file_format, "check_orders")
            case "tickets":
                _check(connection, file_format, "unknown_orders")
                _check(connection, file_format, "check_tickets")
                _check_totals(connection, file_format)
            case "payments" | "refunds":
                _check(connection, file_format, "unknown_orders")
                _check(connection, file_format, f"check_{file_format.table}")
    if "tickets.csv" not in report.files:
        connection.execute(read_sql("import", "shares").encode())
    connection.execute(read_sql("import", "ticket_types").encode())


def _check_totals(connection: Connection, tickets: FileFormat) -> None:
    """Compare orders with their tickets; an order refused for it takes its tickets along."""
    connection.execute(read_sql("import", "shares").encode())
    _check(connection, tickets, "check_shares")
    orders = next(f for f in FORMATS if f.table == "orders")
    _check(connection, orders, "check_totals")
    _check(connection, tickets, "unknown_orders")


def _check(connection: Connection, file_format: FileFormat, name: str) -> None:
    """Find the rows that break a rule and take them out."""
    connection.execute(_formatted(read_sql("import", name), file_format))
    connection.execute(_formatted(read_sql("import", "remove_refused"), file_format))


def _formatted(statement: str, file_format: FileFormat) -> sql.Composed:
    return sql.SQL(statement).format(
        file=sql.Literal(file_format.name),
        staged=sql.Identifier(f"import_{file_format.table}"),
        key=sql.Identifier(file_format.key),
        key_name=sql.Literal(file_format.key),
    )


def _copy(
    connection: Connection,
    file_format: FileFormat,
    file: CsvFile,
    reader: RowReader,
    counts: FileReport,
    tell: Progress,
) -> None:
    """Stream a file into its temporary table, and its problems into the refused rows."""
    columns = sql.SQL(", ").join(map(sql.Identifier, ("line", *reader.staged)))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(f"import_{file_format.table}"), columns
    )
    records = file.records()
    while batch := list(islice(records, _BATCH_ROWS)):
        problems: list[Problem] = []
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for line, row in batch:
                if isinstance(row, Problem):
                    problems.append(row)
                    continue
                values, found = reader.convert(line, row)
                if found:
                    problems += found
                else:
                    copy.write_row([line, *values])
        _copy_problems(connection, file_format, problems)
        counts.rows += len(batch)
        tell(f"reading {file_format.name}, {counts.rows:,} rows", file.share_read)
    counts.blank_lines = file.blank_lines


def _load(connection: Connection) -> None:
    """Insert what passed; foreign keys are checked once at the end, several times faster."""
    keys = connection.execute(
        read_sql("import", "foreign_keys").encode(), [list(TABLES)]
    ).fetchall()
    for table, name, _ in keys:
        connection.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                sql.Identifier(table), sql.Identifier(name)
            )
        )
    connection.execute(read_sql("import", "load").encode())
    for table, name, definition in keys:
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                sql.Identifier(table), sql.Identifier(name), sql.SQL(definition)
            )
        )


def _copy_problems(
    connection: Connection, file_format: FileFormat, problems: Iterable[Problem]
) -> None:
    statement = (
        "COPY import_refused (file, line, column_name, value, reason, detail, key, order_id)"
        " FROM STDIN"
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for p in problems:
            copy.write_row(
                (file_format.name, p.line, p.column, p.value, p.reason, p.detail, p.key, p.order_id)
            )


def _parents(connection: Connection, file_format: FileFormat) -> Parents:
    """The accepted organizers or events, which the next files' rows refer to."""
    rows = connection.execute(
        _formatted("SELECT {key}, time_zone, currency FROM {staged}", file_format)
    )
    known = {
        key: Parent(ZoneInfo(zone) if zone else None, currency) for key, zone, currency in rows
    }
    refused = connection.execute(
        "SELECT key, min(line) FROM import_refused"
        " WHERE file = %s AND key IS NOT NULL GROUP BY key",
        [file_format.name],
    )
    return Parents(file_format.name, known, dict(refused.fetchall()))


def _summarize(connection: Connection, report: ImportReport, path: Path) -> None:
    """Write the refused rows to the report file and count them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(REPORT_COLUMNS)
        writer.writerows(_refused_rows(connection))
    for name, refused in connection.execute(
        "SELECT file, count(DISTINCT line) FROM import_refused GROUP BY file"
    ):
        report.files[name].refused = refused
    report.reasons = connection.execute(read_sql("import", "reasons").encode()).fetchall()
    found = connection.execute(
        "SELECT (SELECT count(*) FROM import_created_types),"
        " (SELECT count(DISTINCT customer_id) FROM import_orders),"
        " (SELECT min(placed_at) FROM import_orders), (SELECT max(placed_at) FROM import_orders),"
        " (SELECT coalesce(array_agg(DISTINCT time_zone ORDER BY time_zone), '{}')"
        " FROM import_events)"
    ).fetchall()[0]
    (
        report.created_ticket_types,
        report.created_customers,
        report.first_order,
        report.last_order,
        report.time_zones,
    ) = found


def _refused_rows(connection: Connection) -> Iterator[tuple[Any, ...]]:
    with connection.cursor("refused") as cursor:
        cursor.itersize = _BATCH_ROWS
        cursor.execute(read_sql("import", "refused").encode())
        yield from cursor
