"""A source that changes its columns or values stops the extraction before anything is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from metrics.calendar import DayRange
from resources.extraction import extract, extract_catalogue
from resources.quarantine import UnknownValueError
from resources.source import ContractError, Source
from resources.source_contract import DAILY_FACTS
from tests.deployment import SQL, Deployment

SCHEMA = Path(__file__).parent.parent / "local" / "ticketing"
DAYS = DayRange("Africa/Nairobi", date(2024, 1, 10), date(2024, 1, 13))
SECRET = "a secret of at least thirty-two characters"


@pytest.fixture(scope="module")
def drifting(make_deployment: Callable[..., Deployment]) -> Deployment:
    deployment = make_deployment()
    deployment.source(SCHEMA / "schema.sql", SCHEMA / "indexes.sql", SQL / "golden.sql")
    return deployment


@pytest.fixture
def unchanged_lake(drifting: Deployment) -> Iterator[None]:
    """Whatever a test does commits nothing to the lake."""
    before = snapshot(drifting)
    yield
    assert snapshot(drifting) == before


def snapshot(deployment: Deployment) -> object:
    with deployment.lake.session() as connection:
        return connection.execute("SELECT id FROM lake.current_snapshot()").fetchall()


def source_of(deployment: Deployment) -> Source:
    return Source(deployment.settings.source_url.get_secret_value(), SECRET)


def run(deployment: Deployment, token: str) -> int:
    extraction = extract(deployment.lake, source_of(deployment), DAYS, DAILY_FACTS, token)
    return extraction.days["orders"][date(2024, 1, 11)].row_count


def test_columns_that_are_not_read_come_and_go(drifting: Deployment) -> None:
    drifting.source(
        "ALTER TABLE orders ADD COLUMN promoter text DEFAULT 'nobody'",
        "ALTER TABLE check_ins DROP COLUMN gate",
    )
    assert run(drifting, "added") == 1


@pytest.mark.usefixtures("unchanged_lake")
@pytest.mark.parametrize(
    ("change", "back", "named"),
    [
        (
            "ALTER TABLE orders DROP COLUMN tax_minor",
            "ALTER TABLE orders ADD COLUMN tax_minor bigint NOT NULL DEFAULT 0",
            'orders: resources/source_sql/orders.sql line 1 fails: column "tax_minor" does not',
        ),
        (
            "ALTER TABLE tickets RENAME COLUMN charged_minor TO price_paid_minor",
            "ALTER TABLE tickets RENAME COLUMN price_paid_minor TO charged_minor",
            'resources/reconciliation_sql/tickets.sql line 11 fails: column "charged_minor" does',
        ),
        (
            "ALTER TABLE payments ALTER COLUMN confirmed_at TYPE timestamp",
            "ALTER TABLE payments ALTER COLUMN confirmed_at TYPE timestamptz",
            "payments.confirmed_at: is timestamp without time zone, expected timestamptz",
        ),
        (
            "ALTER TABLE disputes ALTER COLUMN amount_minor TYPE double precision",
            "ALTER TABLE disputes ALTER COLUMN amount_minor TYPE bigint",
            "disputes.amount_minor: is double precision, expected bigint",
        ),
    ],
    ids=["dropped", "renamed", "retyped", "inexact"],
)
def test_a_column_that_is_read_and_changes_stops_the_extraction(
    drifting: Deployment, change: str, back: str, named: str
) -> None:
    drifting.source(change)
    try:
        with pytest.raises(ContractError) as stopped:
            run(drifting, "changed")
    finally:
        drifting.source(back)
    assert named in str(stopped.value)
    assert "nothing was read" in str(stopped.value)


@pytest.mark.usefixtures("unchanged_lake")
def test_a_new_value_of_a_closed_domain_stops_the_extraction_and_says_where(
    drifting: Deployment,
) -> None:
    drifting.source(
        "ALTER TABLE payments DROP CONSTRAINT payments_provider_check",
        "UPDATE payments SET provider = 'TIGOPESA'",
    )
    try:
        with pytest.raises(UnknownValueError) as stopped:
            run(drifting, "value")
    finally:
        drifting.source("UPDATE payments SET provider = 'MPESA'")
    assert "payments.provider holds 'TIGOPESA' in 1 rows" in str(stopped.value)
    assert "Map each to one of the contract's in resources/source_sql" in str(stopped.value)


@pytest.mark.usefixtures("unchanged_lake")
def test_a_new_status_of_an_event_stops_the_catalogue(drifting: Deployment) -> None:
    drifting.source(
        "ALTER TABLE events DROP CONSTRAINT events_status_check",
        "UPDATE events SET status = 'postponed'",
    )
    try:
        with pytest.raises(UnknownValueError, match=r"events\.status holds 'postponed' in 1 rows"):
            extract_catalogue(drifting.lake, source_of(drifting))
    finally:
        drifting.source("UPDATE events SET status = 'on_sale'")


def test_a_run_that_meets_drift_fails_once_for_all_and_tells_what_to_do(
    drifting: Deployment,
) -> None:
    drifting.source("ALTER TABLE check_ins RENAME COLUMN scanned_at TO scanned")
    result = drifting.run("refresh_days", "2024-01-11", check=False)
    drifting.source("ALTER TABLE check_ins RENAME COLUMN scanned TO scanned_at")
    [failure, *_] = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == "raw"
    message = str(failure.step_failure_data.error)
    assert 'column "scanned_at" does not exist' in message
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert drifting.rows("SELECT * FROM ops.publications") == []
