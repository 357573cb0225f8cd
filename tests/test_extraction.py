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

from local.ticketing.seed import seed
from metrics.calendar import DayRange
from metrics.registry import BASE_MEASURES
from resources import extraction
from resources.extraction import (
    Extraction,
    SupersededExtractionError,
    extract,
    extract_catalogue,
)
from resources.lake import Lake, Staged
from resources.reconciliation import ReconciliationError, watermarks
from resources.source import ContractError, Source
from resources.source_contract import DAILY_FACTS, FACTS
from tests.deployment import SQL, Deployment
from warehouse.faults import FaultPoint, arm

SCHEMA = Path(__file__).parent.parent / "local" / "ticketing"
DAYS = DayRange("Africa/Nairobi", date(2024, 1, 10), date(2024, 2, 3))
ONE_DAY = DayRange("Africa/Nairobi", date(2024, 1, 11), date(2024, 1, 11))
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


def test_every_base_measure_is_reconciled_with_the_source(
    make_deployment: Callable[..., Deployment],
) -> None:
    """The totals of plain SQL on the source are those of the ledger, to the cent."""
    deployment = make_deployment()
    seed(
        deployment.source_owner_url,
        orders=10_000,
        until=date(2026, 3, 31),
        months=3,
        seed=7,
        time_zone="Africa/Nairobi",
    )
    run(deployment, "all", DayRange("Africa/Nairobi", date(2025, 11, 1), date(2026, 4, 20)))
    totals = "measure NOT IN ('rows', 'recorded_until')"
    measures = lake_rows(
        deployment.lake, f"SELECT DISTINCT measure FROM lake.source_totals WHERE {totals}"
    )
    assert {measure for (measure,) in measures} == set(BASE_MEASURES)
    key = "business_date, organizer_id, currency, measure"
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in BASE_MEASURES)
    ledger = (
        f"SELECT business_date, organizer_id, currency, {sums} FROM lake.movements GROUP BY ALL"
    )
    pivoted = f"UNPIVOT ({ledger}) ON {', '.join(BASE_MEASURES)} INTO NAME measure VALUE value"
    at_source = (
        f"SELECT {key}, sum(value) AS value FROM lake.source_totals WHERE {totals} GROUP BY ALL"
    )
    [(compared, differing)] = lake_rows(
        deployment.lake,
        "SELECT count(*), count(*) FILTER (coalesce(s.value, 0) <> coalesce(m.value, 0))"
        f" FROM ({at_source}) AS s FULL JOIN (FROM ({pivoted}) WHERE value <> 0) AS m"
        f" USING ({key})",
    )
    assert differing == 0
    assert isinstance(compared, int)
    assert compared > 1_000


def test_a_cent_changed_on_the_way_names_the_hop_and_commits_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(deployment, "first")
    [before] = lake_rows(deployment.lake, "SELECT id FROM lake.current_snapshot()")
    original = Lake.stage

    def stage(self: Lake, connection: object, table: str, select: str, token: str) -> Staged:
        if table == "raw_refunds":
            select = f"SELECT * REPLACE (amount_minor + 1 AS amount_minor) FROM ({select})"
        return original(self, connection, table, select, token)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "stage", stage)
        with pytest.raises(ReconciliationError) as refused:
            run(deployment, "changed")
    assert (
        "source -> raw does not add up, so nothing was committed to the lake (1 differences): "
        "refunds of 2024-02-02, organizer 1, KES: refunds is 400000 at the source, 400001 in raw"
    ) in str(refused.value)
    assert lake_rows(deployment.lake, "SELECT id FROM lake.current_snapshot()") == [before]


def test_a_row_lost_on_the_way_is_missed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Lake.stage

    def stage(self: Lake, connection: object, table: str, select: str, token: str) -> Staged:
        if table == "raw_attendees":
            select = f"{select} LIMIT 1"
        return original(self, connection, table, select, token)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "stage", stage)
    with pytest.raises(ReconciliationError) as refused:
        run(deployment, "lost")
    assert "attendees of 2024-01-11: rows is 2 at the source, 1 in raw" in str(refused.value)


def test_of_two_extractions_at_a_time_the_later_snapshot_stays(deployment: Deployment) -> None:
    """The one that read earlier and would commit later gives way, whatever it has staged."""
    newer: list[Extraction] = []

    def overtake() -> None:
        if not newer:
            arm(FaultPoint.STAGED, lambda: None)
            deployment.source(
                "UPDATE orders SET total_minor = 7, buyer_fees_minor = 7",
                "UPDATE events SET name = 'Renamed'",
            )
            newer.append(run(deployment, "newer", ONE_DAY))

    arm(FaultPoint.STAGED, overtake)
    try:
        with pytest.raises(SupersededExtractionError, match="is older and was not committed"):
            run(deployment, "older")
        newer.clear()
        arm(FaultPoint.STAGED, overtake)
        deployment.source("UPDATE events SET name = 'New Year Jazz'")
        other = DayRange(DAYS.time_zone, date(2024, 2, 2), date(2024, 2, 2))
        assert run(deployment, "other day", other).changed_catalogue == frozenset()
    finally:
        arm(FaultPoint.STAGED, lambda: None)
    assert lake_rows(
        deployment.lake,
        "SELECT total_minor, (SELECT name FROM lake.raw_events) FROM lake.raw_orders",
    ) == [(7, "Renamed")]


def test_the_watermark_of_a_day_is_the_oldest_of_its_facts_and_needs_them_all(
    deployment: Deployment,
) -> None:
    def known(*facts: str) -> dict[date, object]:
        with deployment.lake.session() as connection:
            return dict(watermarks(connection, facts, DAYS))

    first = extract(deployment.lake, source_of(deployment), DAYS, [FACTS["orders"]], "orders")
    assert known("orders", "refunds") == {}
    assert known("orders") == dict.fromkeys(DAYS.days, first.source_snapshot_at)
    second = extract(deployment.lake, source_of(deployment), ONE_DAY, [FACTS["refunds"]], "refunds")
    assert second.source_snapshot_at > first.source_snapshot_at
    assert known("orders", "refunds") == {ONE_DAY.first: first.source_snapshot_at}
