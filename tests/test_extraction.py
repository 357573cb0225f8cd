"""Extraction: one snapshot of the source, keyed and dated rows, days replaced as a whole."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from metrics.calendar import DayRange
from resources import extraction
from resources.extraction import Extraction, extract, extract_catalogue
from resources.lake import Lake, Staged
from resources.source import ContractError, Source
from resources.source_contract import DAILY_FACTS, FACTS
from tests.deployment import SQL, Deployment

SCHEMA = Path(__file__).parent.parent / "local" / "ticketing"
DAYS = DayRange("Africa/Nairobi", date(2024, 1, 10), date(2024, 2, 3))
SECRET = "a secret of at least thirty-two characters"


@pytest.fixture
def deployment(make_deployment: Callable[..., Deployment]) -> Deployment:
    made = make_deployment()
    made.source(SCHEMA / "schema.sql", SCHEMA / "indexes.sql")
    made.source(SQL / "golden.sql", SQL / "golden_refund.sql")
    return made


def source_of(deployment: Deployment) -> Source:
    return Source(deployment.settings.source_url.get_secret_value(), SECRET)


def run(deployment: Deployment, token: str, days: DayRange = DAYS) -> Extraction:
    return extract(deployment.lake, source_of(deployment), days, DAILY_FACTS, token)


def lake_rows(lake: Lake, query: str) -> list[tuple[object, ...]]:
    with lake.session() as connection:
        return connection.execute(query).fetchall()


def test_a_row_is_stored_on_each_of_its_days_with_what_happened_on_it(
    deployment: Deployment,
) -> None:
    result = run(deployment, "one")
    assert result.days["tickets"][date(2024, 1, 11)].row_count == 2
    assert result.days["tickets"][date(2024, 2, 2)].row_count == 1
    assert result.days["tickets"][date(2024, 2, 1)].row_count == 0
    assert lake_rows(
        deployment.lake,
        "SELECT business_date, ticket_id, sale_date, is_issued_day, is_cancelled_day"
        " FROM lake.raw_tickets ORDER BY ALL",
    ) == [
        (date(2024, 1, 11), 1, date(2024, 1, 11), True, False),
        (date(2024, 1, 11), 2, date(2024, 1, 11), True, False),
        (date(2024, 2, 2), 2, date(2024, 1, 11), False, True),
    ]


def test_a_day_is_the_same_whatever_range_it_was_extracted_in(deployment: Deployment) -> None:
    everything = " UNION ALL BY NAME ".join(
        f"(SELECT '{fact.name}' AS fact, * FROM lake.{fact.table})" for fact in DAILY_FACTS
    )
    query = f"SELECT CAST(row(COLUMNS(*)) AS VARCHAR) FROM ({everything}) ORDER BY ALL"
    run(deployment, "range")
    together = lake_rows(deployment.lake, query)
    for day in (date(2024, 1, 10), date(2024, 1, 11), date(2024, 2, 1), date(2024, 2, 2)):
        run(deployment, f"day-{day}", DayRange(DAYS.time_zone, day, day))
    assert lake_rows(deployment.lake, query) == together


def test_extracting_again_replaces_and_never_adds(deployment: Deployment) -> None:
    run(deployment, "first")
    deployment.source("DELETE FROM tickets WHERE ticket_id = 1")
    run(deployment, "second")
    assert lake_rows(deployment.lake, "SELECT count(*) FROM lake.raw_tickets") == [(2,)]
    assert lake_rows(deployment.lake, "SELECT count(*) FROM lake.raw_orders") == [(1,)]


def test_days_outside_the_range_are_left_alone(deployment: Deployment) -> None:
    run(deployment, "all")
    deployment.source("UPDATE payments SET amount_minor = 1", "UPDATE refunds SET amount_minor = 1")
    run(deployment, "february", DayRange(DAYS.time_zone, date(2024, 2, 1), date(2024, 2, 3)))
    assert lake_rows(
        deployment.lake,
        "SELECT (SELECT sum(amount_minor) FROM lake.raw_payments),"
        " (SELECT sum(amount_minor) FROM lake.raw_refunds)",
    ) == [(1_000_000, 1)]


def test_the_buyer_key_is_an_hmac_of_the_normalized_identity_per_organizer(
    deployment: Deployment,
) -> None:
    run(deployment, "one")
    expected = hmac.new(SECRET.encode(), b"1:amina@example.org", hashlib.sha256).hexdigest()[:32]
    rows = lake_rows(
        deployment.lake, "SELECT replace(buyer_key::VARCHAR, '-', '') FROM lake.raw_orders"
    )
    assert rows == [(expected,)]


def test_all_facts_of_a_run_are_read_from_one_snapshot(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed while a run reads is in none of its facts, whichever reader has them."""
    written = threading.Lock()
    original = Lake.stage

    def stage(self: Lake, connection: object, table: str, select: str, token: str) -> Staged:
        if written.acquire(blocking=False):
            with psycopg.connect(deployment.source_owner_url, autocommit=True) as other:
                other.execute("UPDATE payments SET amount_minor = 5, confirmed_at = '2024-01-12Z'")
                other.execute("UPDATE orders SET total_minor = 5")
                other.execute("UPDATE tickets SET charged_minor = 5")
                other.execute("INSERT INTO organizers VALUES (2, 'New', NULL, now(), now())")
        return original(self, connection, table, select, token)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "stage", stage)
    result = run(deployment, "one")
    assert written.locked()
    assert lake_rows(
        deployment.lake,
        "SELECT (SELECT total_minor FROM lake.raw_orders),"
        " (SELECT sum(charged_minor) FROM lake.raw_tickets WHERE is_issued_day),"
        " (SELECT amount_minor FROM lake.raw_payments)",
    ) == [(1_000_000, 1_000_000, 1_000_000)]
    assert result.catalogue_rows["organizers"] == 1


def test_the_catalogue_is_replaced_only_where_it_changed(deployment: Deployment) -> None:
    first = extract_catalogue(deployment.lake, source_of(deployment))
    assert first.changed_catalogue == {"raw_organizers", "raw_events", "raw_ticket_types"}
    deployment.source("UPDATE events SET name = 'Renamed'")
    again = extract_catalogue(deployment.lake, source_of(deployment))
    assert again.changed_catalogue == {"raw_events"}


def test_the_source_cannot_be_written_through_the_pipeline_s_role(deployment: Deployment) -> None:
    with (
        psycopg.connect(deployment.settings.source_url.get_secret_value()) as connection,
        pytest.raises(psycopg.Error),
    ):
        connection.execute("UPDATE orders SET total_minor = 0")


def test_a_failed_commit_leaves_the_lake_as_it_was(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(deployment, "first")
    before = lake_rows(deployment.lake, "SELECT * FROM lake.raw_orders")
    deployment.source("UPDATE orders SET total_minor = 7")

    def fail(*_: object) -> frozenset[str]:
        raise RuntimeError("stop")

    monkeypatch.setattr(extraction, "_replace_catalogue", fail)
    with pytest.raises(RuntimeError, match="stop"):
        run(deployment, "second")
    assert lake_rows(deployment.lake, "SELECT * FROM lake.raw_orders") == before


def test_every_fact_has_a_statement_and_a_table(deployment: Deployment) -> None:
    tables = {
        row[0]
        for row in lake_rows(
            deployment.lake,
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'",
        )
    }
    assert {fact.table for fact in FACTS.values()} <= tables
    assert DAYS.last - DAYS.first > timedelta(days=20)


def test_housekeeping_keeps_the_rows_and_deletes_what_nothing_names(
    deployment: Deployment,
) -> None:
    run(deployment, "all")
    for number, day in enumerate(DAYS.days[:4]):
        run(deployment, f"day-{number}", DayRange(DAYS.time_zone, day, day))
    tables = "SELECT * FROM lake.raw_orders UNION ALL BY NAME SELECT * FROM lake.raw_tickets"
    before = lake_rows(deployment.lake, f"{tables} ORDER BY ALL")
    with deployment.lake.session() as connection:
        lake = deployment.lake
        lake.stage(connection, "raw_orders", "SELECT * FROM lake.raw_orders", "killed")
    files = f"SELECT count(*) FROM glob('{deployment.lake.data_path}**/*.parquet')"
    written = lake_rows(deployment.lake, files)[0][0]
    report = deployment.lake.tidy(timedelta(0), timedelta(0))
    assert report.snapshots > 2
    assert report.abandoned_files == 1
    assert lake_rows(deployment.lake, f"{tables} ORDER BY ALL") == before
    left = lake_rows(deployment.lake, files)[0][0]
    assert isinstance(left, int)
    assert left + report.replaced_files + 1 >= written
    assert left < written
    # The lake goes on working after it was tidied.
    run(deployment, "afterwards")
    assert lake_rows(deployment.lake, f"{tables} ORDER BY ALL") == before


def test_the_lake_can_be_read_as_it_was_within_its_retention(deployment: Deployment) -> None:
    first = run(deployment, "first").lake_snapshot
    deployment.source("UPDATE orders SET total_minor = 7")
    run(deployment, "second")
    deployment.lake.tidy(timedelta(days=1), timedelta(days=1))
    assert lake_rows(
        deployment.lake, f"SELECT total_minor FROM lake.raw_orders AT (VERSION => {first})"
    ) == [(1_000_000,)]


def test_a_fact_that_cannot_be_read_fails_the_whole_run(deployment: Deployment) -> None:
    for table in ("page_views", "orders"):
        deployment.source(f"ALTER TABLE {table} RENAME TO moved")
        with pytest.raises(ContractError, match=f'relation "{table}" does not exist'):
            run(deployment, f"without-{table}")
        assert lake_rows(deployment.lake, "SELECT count(*) FROM lake.raw_orders") == [(0,)]
        deployment.source(f"ALTER TABLE moved RENAME TO {table}")
    assert run(deployment, "again").days["orders"][date(2024, 1, 11)].row_count == 1
