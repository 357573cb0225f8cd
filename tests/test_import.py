"""``boxoffice import``: every row of a CSV file is loaded or refused by name, never dropped."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from local.ticketing.import_files import FORMATS
from local.ticketing.importer import ImportFailedError, ImportReport, import_folder
from local.ticketing.invariants import violations
from pipelines.cli import app
from pipelines.settings import Settings
from tests.bad_rows import BAD_ROWS, LINE
from tests.deployment import Deployment

SMALL = Path(__file__).parent / "data" / "import"
FESTIVAL = Path(__file__).parent.parent.parent / "shared" / "data" / "festival_ekb"
FIRST, LAST = "2022-04-21", "2022-07-03"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the small platform's files, to be changed."""
    return shutil.copytree(SMALL, tmp_path / "files")


@pytest.fixture(scope="module")
def untouched(fresh_database: Callable[..., str]) -> str:
    """An empty database that every refused import must leave empty."""
    return fresh_database("ticketing")


@pytest.fixture(scope="module")
def loaded(
    fresh_database: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, ImportReport]:
    """The small platform, imported."""
    url = fresh_database("ticketing")
    return url, import_folder(url, SMALL, tmp_path_factory.mktemp("report") / "refused.csv")


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(query.encode()).fetchall()


def refused(path: Path) -> list[tuple[str, int, str, str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return [
            (row["file"], int(row["line"]), row["column"], row["value"], row["reason"])
            for row in csv.DictReader(handle)
        ]


@pytest.mark.skipif(not FESTIVAL.is_dir(), reason="../shared/data/festival_ekb is not there")
def test_a_real_festival_gives_its_published_totals(
    make_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = make_deployment(time_zone="Asia/Yekaterinburg", start_date=date(2022, 4, 21))
    report = import_folder(deployment.source_owner_url, FESTIVAL, tmp_path / "refused.csv")
    assert {name: (file.rows, file.refused) for name, file in report.files.items()} == {
        "organizers.csv": (8, 0),
        "events.csv": (100, 0),
        "orders.csv": (14_846, 0),
        "tickets.csv": (25_830, 0),
    }
    assert report.is_loaded
    assert report.created_ticket_types == 100
    assert report.created_customers == 4_231
    assert report.files["tickets.csv"].ignored_columns == ["op_id"]
    assert refused(tmp_path / "refused.csv") == []

    deployment.run("refresh_days", FIRST, LAST)
    days = {
        str(row["business_date"]): (row["tickets_sold"], row["gross_revenue"])
        for row in deployment.rows(
            """SELECT business_date, sum(tickets_sold)::bigint AS tickets_sold,
                      sum(gross_revenue)::bigint AS gross_revenue
            FROM reporting.daily_metrics WHERE currency = 'RUB' GROUP BY business_date"""
        )
    }
    assert (len(days), sum(gross for _, gross in days.values())) == (74, 553_680_000)
    assert days["2022-04-21"] == (968, 23_110_000)
    assert days["2022-04-27"] == (3_941, 88_810_000)
    assert days["2022-06-05"] == (100, 2_180_000)
    assert sum(tickets for tickets, _ in days.values()) == 25_830


def test_every_file_is_loaded_and_keeps_the_platforms_rules(
    loaded: tuple[str, ImportReport],
) -> None:
    url, report = loaded
    assert report.is_loaded
    assert {name: (file.rows, file.refused) for name, file in report.files.items()} == {
        "organizers.csv": (2, 0),
        "events.csv": (3, 0),
        "ticket_types.csv": (2, 0),
        "orders.csv": (7, 0),
        "tickets.csv": (10, 0),
        "payments.csv": (6, 0),
        "refunds.csv": (2, 0),
    }
    assert report.files["orders.csv"].blank_lines == 1
    assert report.files["tickets.csv"].ignored_columns == ["op_id"]
    for name, file in report.files.items():
        table = name.removesuffix(".csv")
        created = report.created_ticket_types if table == "ticket_types" else 0
        assert rows(url, f"SELECT count(*) FROM {table}") == [(file.accepted + created,)]
    assert violations(url, datetime.now(UTC)) == {}
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute("UPDATE tickets SET order_id = 99 WHERE ticket_id = 1")


def test_text_with_quotes_commas_and_line_ends_is_kept(loaded: tuple[str, ImportReport]) -> None:
    url, _ = loaded
    assert rows(url, "SELECT name FROM organizers ORDER BY 1 DESC") == [
        ("Nairobi Nights",),
        ('Kampala "Live", Ltd',),
    ]
    assert rows(url, "SELECT name FROM events WHERE event_id = 2") == [
        ("Lake Festival\nDay 1 and 2",)
    ]
    assert rows(url, "SELECT attendee_name FROM tickets WHERE ticket_id IN (1, 2, 8)") == [
        ("Otieno, James",),
        ("Amina\nHassan",),
        ("-5",),
    ]


def test_local_times_are_read_in_the_zone_of_row_event_or_organizer(
    loaded: tuple[str, ImportReport],
) -> None:
    url, report = loaded
    assert rows(url, "SELECT time_zone, starts_at FROM events ORDER BY event_id") == [
        ("Africa/Nairobi", datetime(2024, 3, 1, 17, 0, tzinfo=UTC)),
        ("Africa/Kampala", datetime(2024, 5, 1, 7, 0, tzinfo=UTC)),
        ("America/New_York", datetime(2024, 12, 2, 0, 30, tzinfo=UTC)),
    ]
    assert report.time_zones == ["Africa/Kampala", "Africa/Nairobi", "America/New_York"]
    twice = "SELECT completed_at FROM orders WHERE order_id = 6"
    assert rows(url, twice) == [(datetime(2024, 11, 3, 5, 15, tzinfo=UTC),)]


def test_major_units_become_exact_minor_units_of_each_currency(
    loaded: tuple[str, ImportReport],
) -> None:
    url, _ = loaded
    assert rows(
        url, "SELECT order_id, total_minor FROM orders WHERE total_minor > 0 ORDER BY 1"
    ) == [
        (1, 1_011_650),
        (3, 500_000),
        (4, 950_000),
        (5, 100_000),
        (6, 12_000),
        (7, 500_000),
    ]
    assert rows(url, "SELECT amount_minor FROM payments WHERE currency = 'UGX'") == [(100_000,)]


def test_paid_orders_are_completed_when_they_say_or_else_when_placed(
    loaded: tuple[str, ImportReport],
) -> None:
    url, _ = loaded
    assert rows(url, "SELECT order_id, status FROM orders ORDER BY 1") == [
        (1, "completed"),
        (2, "pending"),
        (3, "expired"),
        (4, "cancelled"),
        (5, "completed"),
        (6, "completed"),
        (7, "completed"),
    ]
    assert rows(url, "SELECT order_id FROM orders WHERE completed_at = placed_at ORDER BY 1") == [
        (5,),
        (6,),
        (7,),
    ]


def test_tickets_without_a_type_get_an_admission_per_event_and_price(
    loaded: tuple[str, ImportReport],
) -> None:
    url, report = loaded
    assert report.created_ticket_types == 3
    assert rows(
        url,
        "SELECT event_id, name, kind, price_minor, currency FROM ticket_types"
        " WHERE ticket_type_id > 2 ORDER BY event_id, price_minor",
    ) == [
        (2, "Admission 50000", "admission", 50_000, "UGX"),
        (2, "Admission 80000", "admission", 80_000, "UGX"),
        (3, "Admission", "admission", 12_000, "USD"),
    ]
    assert rows(
        url, "SELECT count(*) FROM tickets t JOIN ticket_types y USING (ticket_type_id)"
        " WHERE t.list_price_minor = y.price_minor"
    ) == [(10,)]  # fmt: skip


def test_a_cancelled_ticket_unsells_its_share_of_the_order(
    loaded: tuple[str, ImportReport],
) -> None:
    url, _ = loaded
    assert rows(
        url, "SELECT ticket_id, unsold_minor FROM tickets WHERE status = 'cancelled' ORDER BY 1"
    ) == [(2, 481_738), (4, 500_000), (5, 450_000)]


@pytest.mark.parametrize(
    ("file", "row", "column", "reason"), BAD_ROWS, ids=[f"{b[0]} {b[3]}"[:60] for b in BAD_ROWS]
)
def test_a_bad_row_is_refused_by_line_and_reason_and_nothing_is_loaded(
    folder: Path, untouched: str, tmp_path: Path, file: str, row: bytes, column: str, reason: str
) -> None:
    with (folder / file).open("ab") as handle:
        handle.write(row + b"\n")
    report = import_folder(untouched, folder, tmp_path / "refused.csv")
    found = refused(tmp_path / "refused.csv")
    assert [entry[:3] for entry in found] == [(file, LINE[file], column)]
    assert found[0][4].startswith(reason)
    assert report.refused == 1
    assert not report.is_loaded
    assert rows(untouched, "SELECT to_regclass('orders')") == [(None,)]


def test_what_depends_on_a_refused_row_is_refused_and_the_rest_is_loaded_if_allowed(
    folder: Path, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    orders = folder / "orders.csv"
    orders.write_text(
        orders.read_text().replace("2024-01-12T08:05:00Z,2024-02", "yesterday,2024-02")
    )
    url, report_path = fresh_database("ticketing"), tmp_path / "refused.csv"
    report = import_folder(url, folder, report_path, allow_refused=True)
    assert refused(report_path) == [
        ("orders.csv", 5, "completed_at_utc", "yesterday", reason_of(report, "orders.csv")),
        *(
            (file, line, "order_id", "4", ("belongs to a refused row of orders.csv; "
             "correct that one (line 5)"))
            for file, line in (
                ("payments.csv", 4), ("refunds.csv", 3), ("tickets.csv", 6), ("tickets.csv", 7),
            )
        ),
    ]  # fmt: skip
    assert report.is_loaded
    assert rows(url, "SELECT count(*) FROM orders") == [(6,)]
    assert rows(url, "SELECT count(*) FROM tickets") == [(8,)]
    assert violations(url, datetime.now(UTC)) == {}


def test_an_order_is_refused_with_one_of_its_tickets(
    folder: Path, untouched: str, tmp_path: Path
) -> None:
    tickets = folder / "tickets.csv"
    tickets.write_text(tickets.read_text().replace("7,250,5,2,,50000,50000", "7,250,5,2,,50000,x"))
    import_folder(untouched, folder, tmp_path / "refused.csv")
    found = refused(tmp_path / "refused.csv")
    assert {(file, line, column) for file, line, column, _, _ in found} == {
        ("tickets.csv", 9, "price_minor"),  # line 4 of the file goes on in line 5
        ("orders.csv", 7, "tickets"),
        ("orders.csv", 7, "gross"),
        ("tickets.csv", 8, "order_id"),
        ("tickets.csv", 10, "order_id"),
        ("payments.csv", 5, "order_id"),
    }
    reasons = [reason for file, _, _, _, reason in found if file == "orders.csv"]
    assert all("refused" in reason for reason in reasons)


def test_a_total_beyond_64_bits_is_refused(folder: Path, untouched: str, tmp_path: Path) -> None:
    largest = 2**63 - 1
    with (folder / "orders.csv").open("a") as orders, (folder / "tickets.csv").open("a") as tickets:
        orders.write("8,2,,,paid,,,,,,,,2024-04-10T22:28:00Z,,,,\n")
        tickets.write(f"11,1,8,2,,{largest},{largest},,,,,\n12,1,8,2,,1,1,,,,,\n")
    import_folder(untouched, folder, tmp_path / "refused.csv")
    (order, *dependents) = refused(tmp_path / "refused.csv")
    assert order[:4] == ("orders.csv", 10, "gross", str(largest + 1))
    assert order[4].startswith("does not fit 64 bits")
    assert len(dependents) == 2


def test_a_second_import_needs_replace_which_deletes_what_was_there(
    fresh_database: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    url, report_path = fresh_database("ticketing"), tmp_path / "refused.csv"
    import_folder(url, folder, report_path)
    with pytest.raises(ImportFailedError, match=r"already has rows.*--replace"):
        import_folder(url, folder, report_path)
    for file in ("tickets.csv", "payments.csv", "refunds.csv", "ticket_types.csv"):
        (folder / file).unlink()
    report = import_folder(url, folder, report_path, replace=True)
    assert report.is_loaded
    counts = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM tickets)"
    assert rows(url, counts) == [(7, 0)]
    with (folder / "orders.csv").open("a") as orders:
        orders.write("bad row\n")
    assert not import_folder(url, folder, report_path, replace=True).is_loaded
    assert rows(url, counts) == [(7, 0)]


def test_tables_of_another_platform_are_never_touched(
    fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    url = fresh_database("ticketing")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE orders (id uuid)")
        connection.execute("INSERT INTO orders VALUES (gen_random_uuid())")
    with pytest.raises(ImportFailedError, match="another platform"):
        import_folder(url, SMALL, tmp_path / "refused.csv", replace=True)
    assert rows(url, "SELECT count(*) FROM orders") == [(1,)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("status", "state", "orders.csv: no column for status; name it status"),
        ("placed_at", "placed", "no column for placed_at; name it placed_at or placed_at_utc or"),
        ("gross", "discount", "column 'discount' occurs twice"),
        ("channel", "customer_id", "columns customer_id, buyer_id say the same thing; keep one"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused_as_a_whole(
    folder: Path, untouched: str, tmp_path: Path, old: str, new: str, message: str
) -> None:
    orders = folder / "orders.csv"
    orders.write_text(orders.read_text().replace(old, new, 1))
    with pytest.raises(ImportFailedError) as failure:
        import_folder(untouched, folder, tmp_path / "refused.csv")
    assert message in str(failure.value)


def test_a_missing_file_is_named(folder: Path, untouched: str, tmp_path: Path) -> None:
    (folder / "events.csv").unlink()
    with pytest.raises(ImportFailedError, match=r"has no events\.csv"):
        import_folder(untouched, folder, tmp_path / "refused.csv")


def test_local_times_without_a_zone_need_the_option(
    folder: Path, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    (folder / "organizers.csv").write_text("organizer_id,name,currency\n1,A,KES\n2,B,UGX\n")
    url = fresh_database("ticketing")
    report = import_folder(url, folder, tmp_path / "refused.csv")
    assert report.files["events.csv"].refused == 2
    report = import_folder(url, folder, tmp_path / "refused.csv", time_zone="Africa/Nairobi")
    assert report.is_loaded
    assert report.time_zones == ["Africa/Nairobi", "America/New_York"]


def test_the_command_reports_and_fails_when_rows_are_refused(
    folder: Path,
    fresh_database: Callable[..., str],
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings = make_settings(source_owner_url=fresh_database("ticketing"))
    monkeypatch.setattr("pipelines.settings.get_settings", lambda: settings)
    report_path = tmp_path / "out" / "refused.csv"

    def run(*options: str) -> tuple[int, str]:
        command = ["import", str(folder), "--report", str(report_path), *options]
        result = CliRunner().invoke(app, command)
        return result.exit_code, result.output

    (folder / "venues.csv").write_text("venue_id\n")
    with (folder / "payments.csv").open("a") as payments:
        payments.write("7,1,BITCOIN,cash,confirmed,KES,1,,,2024-01-10T22:28:00Z\n")
    code, output = run()
    assert code == 1
    assert "1 x provider is not known" in output
    assert "Nothing was loaded or changed" in output
    assert "Ignored files: venues.csv" in output
    assert "ignored columns: op_id" in output
    assert str(report_path) in output
    code, output = run("--allow-refused")
    assert (code, "7 rows,           6 loaded, 1 refused" in output) == (0, True)
    assert "Orders were placed from 2024-01-11 to 2024-11-03" in output
    code, output = run()
    assert code == 1
    assert "already has rows" in output


def test_the_page_names_every_column_and_status_an_import_understands() -> None:
    page = (Path(__file__).parent.parent / "docs" / "adopting.md").read_text()
    for file_format in FORMATS:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {file_format.table} |")]
        for column in file_format.columns:
            if column.is_staged:
                assert all(f"`{name}`" in row for name in column.names), (row, column.names)
            if column.name == "status":
                assert all(f"`{status}`" in page for status in column.choices.values())


def reason_of(report: ImportReport, file: str) -> str:
    return next(reason for name, _, reason, _ in report.reasons if name == file)
