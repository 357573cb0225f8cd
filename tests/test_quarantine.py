"""Rows that cannot be used: named, counted and left out; too many of them stop the extraction."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from local.ticketing.seed import seed
from metrics.calendar import DayRange
from resources.extraction import Extraction, extract, extract_catalogue
from resources.fingerprint import take_fingerprint
from resources.quarantine import QuarantineError, rules
from resources.source import Source
from resources.source_contract import DAILY_FACTS, FACTS, Reason
from tests.deployment import SQL, Deployment
from warehouse.extractions import record_extraction, record_quarantine
from warehouse.late_days import quarantined_keys, unresolved_references
from warehouse.publish import connect

SCHEMA = Path(__file__).parent.parent / "local" / "ticketing"
DAYS = DayRange("Africa/Nairobi", date(2024, 1, 10), date(2024, 1, 13))
DAY, NEXT, NO_DAY = date(2024, 1, 11), date(2024, 1, 12), None
SECRET = "a secret of at least thirty-two characters"

EXPECTED = {
    ("events", "50", NO_DAY): ("currency", Reason.UNKNOWN_CURRENCY, "XXX"),
    ("events", "51", NO_DAY): ("organizer_id", Reason.UNKNOWN_ORGANIZER, "9"),
    ("events", "52", NO_DAY): ("capacity", Reason.NEGATIVE, "-1"),
    ("ticket_types", "70", NO_DAY): ("currency", Reason.FOREIGN_CURRENCY, "USD"),
    ("orders", "101", DAY): ("event_id", Reason.UNKNOWN_EVENT, "99"),
    ("orders", "102", DAY): ("currency", Reason.UNKNOWN_CURRENCY, "KSH"),
    ("orders", "103", DAY): ("currency", Reason.FOREIGN_CURRENCY, "UGX"),
    ("orders", "104", DAY): ("total_minor", Reason.NEGATIVE, "-1"),
    ("orders", "105", DAY): ("tax_minor", Reason.OUT_OF_BOUNDS, "1000000000000001"),
    ("orders", "106", DAY): ("channel", Reason.EMPTY, None),
    ("orders", "106", NEXT): ("channel", Reason.EMPTY, None),
    ("orders", "107", DAY): ("completed_at", Reason.TOO_EARLY, "1970-01-01 00:00:00+00"),
    ("orders", "107", NO_DAY): ("completed_at", Reason.TOO_EARLY, "1970-01-01 00:00:00+00"),
    ("orders", "108", DAY): ("expired_at", Reason.IN_FUTURE, "9999-12-31 00:00:00+00"),
    ("orders", "108", NO_DAY): ("expired_at", Reason.IN_FUTURE, "9999-12-31 00:00:00+00"),
    ("orders", "109", DAY): ("recorded_at", Reason.IN_FUTURE, "9999-12-31 00:00:00+00"),
    ("orders", "110", DAY): ("event_id", Reason.UNKNOWN_EVENT, "50"),
    ("tickets", "201", DAY): ("ticket_type_id", Reason.UNKNOWN_TICKET_TYPE, "77"),
    ("tickets", "202", DAY): ("ticket_type_id", Reason.UNKNOWN_TICKET_TYPE, "70"),
    ("payments", "301", DAY): ("amount_minor", Reason.NOT_A_NUMBER, "NaN"),
    ("payments", "302", DAY): ("amount_minor", Reason.NOT_A_NUMBER, "Infinity"),
    ("payments", "303", DAY): ("amount_minor", Reason.SUB_MINOR, "10.5"),
    ("payments", "304", DAY): ("amount_minor", Reason.OUT_OF_BOUNDS, "1" + 30 * "0"),
    ("payments", "305", DAY): ("amount_minor", Reason.EMPTY, None),
    ("payments", "307", NO_DAY): ("confirmed_at", Reason.TOO_EARLY, "1970-01-01 00:00:00+00"),
    ("page_views", "1/2024-01-11/ios", DAY): ("page_views", Reason.NEGATIVE, "-1"),
    ("page_views", "1/9999-12-31/web", NO_DAY): ("view_date", Reason.IN_FUTURE, "9999-12-31"),
}
MEND = (
    "DELETE FROM events WHERE event_id >= 50",
    "DELETE FROM ticket_types WHERE ticket_type_id = 70",
    "DELETE FROM orders WHERE order_id > 100",
    "DELETE FROM tickets WHERE ticket_id = 202",
    "UPDATE tickets SET ticket_type_id = 1 WHERE ticket_id = 201",
    "UPDATE payments SET amount_minor = 10 WHERE payment_id BETWEEN 301 AND 305",
    "DELETE FROM payments WHERE payment_id = 307",
    "UPDATE page_views SET page_views = 1 WHERE channel = 'ios'",
    "DELETE FROM page_views WHERE view_date > '2025-01-01'",
)


@pytest.fixture(scope="module")
def deployment(make_deployment: Callable[..., Deployment]) -> Deployment:
    made = make_deployment(quarantine_tolerance=100)
    made.source(SCHEMA / "schema.sql", SCHEMA / "indexes.sql", SQL / "golden.sql")
    made.source(SQL / "unusable.sql")
    return made


def source_of(deployment: Deployment, tolerance: int = 100) -> Source:
    url = deployment.settings.source_url.get_secret_value()
    return Source(url, SECRET, quarantine_tolerance=tolerance, quarantine_max_share=0)


def run(deployment: Deployment, token: str, tolerance: int = 100) -> Extraction:
    return extract(deployment.lake, source_of(deployment, tolerance), DAYS, DAILY_FACTS, token)


def held(rows: list[dict[str, Any]]) -> dict[tuple[str, str, date | None], tuple[str, str, str]]:
    return {
        (row["fact"], row["row_key"], row["business_date"]): (
            row["column_name"],
            row["reason"],
            row["found"],
        )
        for row in rows
    }


def usable(deployment: Deployment) -> dict[tuple[date, str], int]:
    """By day and fact, rows in quarantine that the fingerprint finds usable by now."""
    reasons = (Reason.UNKNOWN_EVENT, Reason.UNKNOWN_TICKET_TYPE)
    with connect(deployment.settings.warehouse_url.get_secret_value()) as connection:
        missing = unresolved_references(connection, reasons)
        keys = quarantined_keys(connection)
    found = take_fingerprint(deployment.lake, source_of(deployment), DAYS, keys, missing)
    assert found.differences == ()
    return dict(found.usable)


def lake_rows(deployment: Deployment, query: str) -> list[tuple[Any, ...]]:
    with deployment.lake.session() as connection:
        return connection.execute(query).fetchall()


def test_every_unusable_row_is_named_with_its_reason_and_no_other_is(
    deployment: Deployment,
) -> None:
    extraction = run(deployment, "named")
    assert held(extraction.unusable.rows.to_dicts()) == EXPECTED


def test_source_rows_are_those_used_and_those_in_quarantine(deployment: Deployment) -> None:
    days = run(deployment, "counted").days
    for fact, day, at_source in (
        ("orders", DAY, 11),
        ("orders", NEXT, 1),
        ("tickets", DAY, 4),
        ("payments", DAY, 7),
        ("page_views", DAY, 2),
    ):
        read = days[fact][day]
        assert read.row_count + read.quarantined_count == at_source
        assert lake_rows(
            deployment,
            "SELECT value FROM lake.source_totals WHERE measure = 'rows'"
            f" AND fact = '{fact}' AND business_date = '{day}'",
        ) == [(at_source,)]


def test_what_can_be_used_is_used_and_a_numeric_is_read_exactly(deployment: Deployment) -> None:
    run(deployment, "used")
    assert lake_rows(
        deployment, "SELECT payment_id, amount_minor FROM lake.raw_payments ORDER BY 1"
    ) == [(1, 1_000_000), (306, 25)]
    assert lake_rows(deployment, "SELECT order_id FROM lake.raw_orders") == [(1,)]
    assert lake_rows(deployment, "SELECT event_id FROM lake.raw_events") == [(1,)]


def test_too_many_unusable_rows_stop_the_extraction_and_name_the_reasons(
    deployment: Deployment,
) -> None:
    before = lake_rows(deployment, "SELECT id FROM lake.current_snapshot()")
    with pytest.raises(QuarantineError) as stopped:
        run(deployment, "stopped", tolerance=4)
    message = str(stopped.value)
    assert "orders: 11 of 12 rows of 2024-01-10 to 2024-01-13 (" in message
    assert "currency is not the currency of its event: 1" in message
    assert "payments: 5 of 7 rows" in message
    assert "tickets" not in message
    assert "BOXOFFICE_QUARANTINE_TOLERANCE" in message
    assert lake_rows(deployment, "SELECT id FROM lake.current_snapshot()") == before


def test_a_run_records_the_quarantine_and_a_mended_row_leaves_it(deployment: Deployment) -> None:
    def quarantine() -> list[dict[str, Any]]:
        return deployment.rows("SELECT * FROM ops.quarantine")

    first = deployment.run("refresh_days", "2024-01-10", "2024-01-13")
    assert held(quarantine()) == EXPECTED
    assert {row["first_seen_run"] for row in quarantine()} == {first.run_id}
    assert deployment.rows(
        "SELECT row_count, quarantined_count FROM ops.extractions"
        " WHERE fact = 'payments' AND business_date = '2024-01-11'"
    ) == [{"row_count": 2, "quarantined_count": 5}]
    shown = {
        event.partition: event.step_materialization_data.materialization.metadata
        for event in first.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("raw_payments")
    }
    metadata = shown["2024-01-11"]
    assert metadata["quarantined"].value == 5
    assert "| amount_minor is not a finite number | 2 |" in str(metadata["quarantine"].value)
    assert shown["2024-01-12"]["quarantined"].value == 0

    # A row that only lacked its event is noticed once the catalogue has the event.
    assert usable(deployment) == {}
    deployment.source(
        "CREATE TEMP TABLE e AS SELECT * FROM events WHERE event_id = 1;"
        "UPDATE e SET event_id = 99; INSERT INTO events SELECT * FROM e"
    )
    extract_catalogue(deployment.lake, source_of(deployment))
    assert usable(deployment) == {(DAY, "orders"): 1}

    deployment.source(*MEND)
    deployment.run("refresh_days", "2024-01-11")
    left = {("orders", "106", NEXT)}
    assert set(held(quarantine())) == left, "of a day that was not read again"
    assert deployment.rows(
        "SELECT sum(payments)::int AS payments FROM reporting.daily_metrics"
    ) == [{"payments": 1_000_000 + 25 + 5 * 10}]


def test_an_older_extraction_never_overwrites_the_quarantine_of_a_newer_one(
    deployment: Deployment,
) -> None:
    newer = datetime(2026, 3, 1, tzinfo=UTC)
    older = newer - timedelta(minutes=1)
    day = date(2026, 2, 1)

    def row(key: str) -> dict[str, Any]:
        return {
            "fact": "disputes",
            "row_key": key,
            "business_date": day,
            "column_name": "amount_minor",
            "reason": "is negative",
            "found": "-1",
        }

    with connect(deployment.settings.warehouse_url.get_secret_value()) as connection:

        def note(at: datetime, *keys: str) -> list[tuple[str, str, str]]:
            rows = [row(key) for key in keys]
            noted = {"facts": ["disputes"], "days": (day, day), "snapshot_at": at}
            record_quarantine(connection, rows, **noted, run_id=at.isoformat())  # type: ignore[arg-type]
            return [
                (found["row_key"], found["first_seen_run"], found["last_seen_run"])
                for found in deployment.rows(
                    "SELECT * FROM ops.quarantine WHERE fact = 'disputes' ORDER BY row_key"
                )
            ]

        ours, theirs = older.isoformat(), newer.isoformat()
        assert note(older, "1", "2") == [("1", ours, ours), ("2", ours, ours)]
        assert note(newer, "2") == [("2", ours, theirs)]
        record_extraction(connection, [("disputes", day, newer, 1_000, 0, 1, "newer")])
        assert note(older, "1", "2") == [("2", ours, theirs)]


def test_no_value_of_a_column_with_personal_data_is_shown() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    for fact in FACTS.values():
        personal = {column.name for column in fact.columns if column.pii}
        assert all(r.found == "NULL" for r in rules(fact, at) if r.column in personal)


def test_a_copy_whose_timestamps_all_became_1970_publishes_nothing(
    make_deployment: Callable[..., Deployment],
) -> None:
    deployment = make_deployment(quarantine_max_share=0.2)
    seed(
        deployment.source_owner_url,
        orders=1_000,
        until=date(2026, 3, 31),
        months=3,
        seed=7,
        time_zone="Africa/Nairobi",
        progress=lambda *_: None,
    )
    deployment.run("refresh_days", "2026-03-20", "2026-03-22")
    before = deployment.rows(
        "SELECT * FROM reporting.daily_metrics ORDER BY business_date, event_id"
    )
    assert sum(row["orders"] for row in before) > 10
    # First only the payments of these days: few of all payments, but all that the days have.
    deployment.source(
        "UPDATE payments SET confirmed_at = '1970-01-01Z'"
        " WHERE confirmed_at >= '2026-03-19 21:00Z' AND confirmed_at < '2026-03-22 21:00Z'"
    )
    result = deployment.run("refresh_days", "2026-03-20", "2026-03-22", check=False)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    lost = r"payments: (\d+) of \1 rows of 2026-03-20 to 2026-03-22 \(confirmed_at is before"
    assert re.search(lost, str(failure.step_failure_data.error))
    with psycopg.connect(deployment.source_owner_url, autocommit=True) as owner:
        columns = owner.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'"
            " AND table_name NOT IN ('events', 'fee_plans')"
        ).fetchall()
        for table, column in columns:
            owner.execute(
                f"UPDATE {table} SET {column} = '1970-01-01Z' WHERE {column} IS NOT NULL".encode()
            )
    result = deployment.run("refresh_days", "2026-03-20", "2026-03-22", check=False)
    assert not result.success
    failures = [event for event in result.all_events if event.is_step_failure]
    message = str(failures[0].step_failure_data.error)
    assert "orders: 1,0" in message
    assert "have no possible day (placed_at is before the year 2000: 1,0" in message
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    after = deployment.rows(
        "SELECT * FROM reporting.daily_metrics ORDER BY business_date, event_id"
    )
    assert after == before
    [noted] = deployment.rows(
        "SELECT count(*) AS rows, count(business_date) AS dated FROM ops.quarantine"
        " WHERE fact = 'orders'"
    )
    assert noted["rows"] == 1_000
    assert noted["dated"] == 0
