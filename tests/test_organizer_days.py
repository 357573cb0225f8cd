"""An organizer's days are the sums of their events' days, whatever is done to these."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from alembic import command

from api.periods import Periods
from api.statements import statement
from api.written import by_currency
from metrics.datasets import DAILY_METRICS
from pipelines.settings import Settings
from tests.api_client import MINE, api_settings, publish_day
from warehouse import migrate
from warehouse.proofs import prove_now
from warehouse.publish import connect
from warehouse.sum_tables import ORGANIZER_DAYS

NAMES = [column.name for column in ORGANIZER_DAYS.columns]
KEYS, METRICS = NAMES[:3], NAMES[3:]
KEPT = f"SELECT {', '.join(NAMES)} FROM ops.organizer_days ORDER BY 1, 2, 3"
SUMMED = (
    f"SELECT {', '.join(KEYS)}, {', '.join(f'sum({name})::bigint' for name in METRICS)}"
    " FROM reporting.daily_metrics GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)


@pytest.fixture(scope="module")
def settings(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> Settings:
    made = api_settings(make_settings, fresh_database, role_url)
    publish_day(made, date(2026, 3, 1), {120: 100, 121: 250, 130: 7})
    publish_day(made, date(2026, 3, 2), {120: 40})
    return made


def _both(settings: Settings, *changes: str) -> tuple[list[Any], list[Any]]:
    """What is kept and what it should be, after changes by the owner."""
    assert settings.warehouse_owner_url is not None
    with psycopg.connect(settings.warehouse_owner_url.get_secret_value()) as connection:
        for change in changes:
            connection.execute(change.encode())
        found = connection.execute(KEPT.encode()).fetchall()
        wanted = connection.execute(SUMMED.encode()).fetchall()
        connection.rollback()
    return found, wanted


def test_what_is_published_is_summed_in_the_same_transaction(settings: Settings) -> None:
    found, wanted = _both(settings)
    assert found == wanted
    gross = NAMES.index("gross_revenue")
    assert [(row[0], row[1].day, row[gross]) for row in found] == [
        (12, 1, 350),
        (12, 2, 40),
        (13, 1, 7),
    ]


def _copied(column: str, value: str) -> str:
    """Every row of some days once more, with another value in one column."""
    names = ", ".join(DAILY_METRICS.column_names)
    values = names.replace(column, value)
    return (
        f"INSERT INTO reporting.daily_metrics ({names}) SELECT {values}"
        " FROM reporting.daily_metrics WHERE event_id IN (120, 130)"
    )


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (
            "UPDATE reporting.daily_metrics SET orders = orders + 1, free_orders = free_orders + 1",
            3,
        ),
        ("UPDATE reporting.daily_metrics SET business_date = '2026-03-09' WHERE event_id = 120", 4),
        ("DELETE FROM reporting.daily_metrics WHERE event_id = 130", 2),
        (_copied("event_id", "event_id + 1000"), 3),
        (_copied("business_date", "business_date + 100"), 6),
        ("TRUNCATE reporting.daily_metrics", 0),
    ],
)
def test_edits_of_daily_metrics_are_followed(settings: Settings, change: str, rows: int) -> None:
    if "'2026-03-09'" in change:
        change = change.replace("WHERE", "WHERE business_date = '2026-03-01' AND")
    found, wanted = _both(settings, change)
    assert found == wanted
    assert len(found) == rows


def test_kept_sums_that_were_edited_are_proven_wrong_and_mended_by_their_day(
    settings: Settings,
) -> None:
    assert settings.warehouse_owner_url is not None
    hop = "daily_metrics -> organizer_days"

    def change(statement: str) -> None:
        with psycopg.connect(settings.warehouse_owner_url.get_secret_value()) as connection:
            connection.execute(statement.encode())

    def differences() -> tuple[str, ...]:
        with connect(settings.warehouse_url.get_secret_value()) as connection:
            proofs = {proof.hop: proof for proof in prove_now(connection, datetime.now(UTC))}
        assert proofs[hop].partitions == 2
        return proofs[hop].differences

    assert differences() == ()
    change("UPDATE ops.organizer_days SET orders = orders + 1 WHERE organizer_id = 13")
    change(
        "DELETE FROM ops.organizer_days WHERE organizer_id = 12 AND business_date = '2026-03-02'"
    )
    found = differences()
    assert found[-1].startswith("2026-03-02 organizer 12 ")
    assert sum("organizer 13 KES orders: its events" in line for line in found) == 1
    change("UPDATE reporting.daily_metrics SET orders = orders WHERE business_date < '2026-04-01'")
    assert differences() == ()


def test_an_organizer_sees_no_days_but_their_own(settings: Settings) -> None:
    assert settings.warehouse_reader_url is not None
    counted = b"SELECT organizer_id, count(*) FROM ops.organizer_days GROUP BY 1 ORDER BY 1"
    with psycopg.connect(settings.warehouse_reader_url.get_secret_value()) as connection:
        connection.execute("SET ROLE boxoffice_organizer_reader")
        assert connection.execute(counted).fetchall() == []
        connection.execute("SELECT set_config('boxoffice.organizer_id', %s, true)", (str(MINE),))
        assert connection.execute(counted).fetchall() == [(MINE, 2)]
        connection.execute("RESET ROLE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(counted)


def test_an_organizers_year_is_a_lookup(settings: Settings) -> None:
    assert settings.warehouse_owner_url is not None
    days = {"first": date(2025, 1, 1), "last": date(2025, 3, 31)}
    windows = {"numbers": [1], "firsts": [days["first"]], "lasts": [days["last"]]}
    with psycopg.connect(settings.warehouse_owner_url.get_secret_value()) as connection:
        values = f"{', '.join(KEYS)}, {', '.join(METRICS)}"
        connection.execute(
            f"""INSERT INTO ops.organizer_days ({values})
            SELECT organizer, DATE '2025-01-01' + day, 'KES', {", ".join(["1"] * len(METRICS))}
            FROM generate_series(1, 60) AS organizer, generate_series(0, 179) AS day""".encode()
        )
        connection.execute(b"ANALYZE ops.organizer_days")
        for text, parameters in (
            by_currency(Periods("daily", *days.values()), ("orders",), {"organizer_id": MINE}),
            (
                statement("organizer_window_sums", metrics=("orders",)),
                {**windows, "organizer": MINE},
            ),
        ):
            rows = connection.execute(b"EXPLAIN " + text, parameters).fetchall()
            plan = "\n".join(row[0] for row in rows)
            assert "organizer_days_pkey" in plan
            assert "Seq Scan" not in plan
        connection.rollback()


def test_a_warehouse_with_days_is_summed_when_it_is_migrated(settings: Settings) -> None:
    assert settings.warehouse_owner_url is not None
    owner = settings.warehouse_owner_url.get_secret_value()
    with migrate.engine(owner).begin() as connection:
        command.downgrade(migrate._config(connection), "0006")
    migrate.upgrade(owner)
    migrate.check(owner)
    found, wanted = _both(settings)
    assert found == wanted
    assert len(found) == 3
