"""Restatements: every changed value of a closed period is told once, with what explains it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest
from psycopg.rows import dict_row

from assets.ledger_changes import ledger_history
from local.ticketing.seed import seed
from metrics.calendar import DayRange, month_start, week_start
from metrics.datasets import DAILY_METRICS, DATASETS, Dataset
from metrics.registry import METRICS, Distinct, terms
from resources.lake import current_snapshot
from tests.deployment import SQL, Deployment
from warehouse.restatements import SEVERITY, Version

SEED = 500
TIME_ZONE = "Africa/Nairobi"
FIRST, LAST = date(2026, 1, 5), date(2026, 3, 8)
DAILY = ("daily_metrics", "daily_payments", "daily_ticket_types")
PERIODS = {"weekly_revenue": week_start, "monthly_revenue": month_start}
LATE = "2026-03-20 09:00Z"
Cells = dict[tuple[Any, ...], int]


@dataclass
class Injected:
    """What was done to the source: rows in all, and what happened on each event's day."""

    rows: int = 0
    kinds: dict[tuple[date, int, str], set[str]] = field(default_factory=dict)

    def note(self, fact: str, kind: str, day: date, event: int) -> None:
        self.rows += 1
        self.kinds.setdefault((day, event, fact), set()).add(kind)


class Injection:
    """500 late rows drawn from a seed: refunds, payments, scans, orders, corrections, deletions."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self.connection = connection
        self.chance = random.Random(SEED)
        self.made = Injected()
        self.next_id = 10**9

    def run(self) -> Injected:
        orders = self._all(
            """SELECT o.order_id, o.event_id, o.currency, p.payment_id, p.provider, p.instrument
            FROM orders o JOIN payments p USING (order_id)
            WHERE o.completed_at IS NOT NULL AND NOT o.is_test AND p.status = 'confirmed'
            ORDER BY o.order_id, p.payment_id"""
        )
        for order in self.chance.sample(orders, 120):
            self._refund(order)
        for order in self.chance.sample(orders, 80):
            self._payment(order)
        tickets = self._all(
            """SELECT t.ticket_id, t.order_id, t.event_id, t.ticket_type_id
            FROM tickets t JOIN ticket_types y USING (ticket_type_id)
            WHERE NOT t.is_test AND y.kind = 'admission' ORDER BY 1"""
        )
        for ticket in self.chance.sample(tickets, 80):
            self._check_in(ticket)
        types = self._all(
            """SELECT y.ticket_type_id, y.event_id, y.currency, y.price_minor
            FROM ticket_types y WHERE y.kind = 'admission' ORDER BY 1"""
        )
        for _ in range(60):
            self._order(self.chance.choice(types))
        self._correct("refunds", "refund_id", "succeeded_at", "amount_minor = amount_minor + 1", 30)
        self._correct(
            "payments", "payment_id", "confirmed_at", "amount_minor = amount_minor + 7", 25
        )
        self._correct(
            "payments", "payment_id", "confirmed_at", "provider = 'CARD', instrument = 'bank'", 10
        )
        self._delete("refunds", "refund_id", "succeeded_at", 15)
        self._delete("check_ins", "check_in_id", "scanned_at", 20)
        return self.made

    def _all(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return self.connection.execute(query.encode(), parameters).fetchall()

    def _instant(self) -> tuple[date, datetime, int]:
        """A moment of a closed day, and a new key."""
        day = FIRST + timedelta(days=self.chance.randrange((LAST - FIRST).days + 1))
        self.next_id += 1
        noon = datetime(day.year, day.month, day.day, 9, tzinfo=UTC)
        return day, noon + timedelta(seconds=self.chance.randrange(3600)), self.next_id

    def _refund(self, order: dict[str, Any]) -> None:
        day, at, key = self._instant()
        self.connection.execute(
            """INSERT INTO refunds (refund_id, order_id, payment_id, event_id, provider, instrument,
                status, currency, amount_minor, platform_fee_returned_minor, requested_at,
                succeeded_at, updated_at)
            VALUES (%s, %s, %s, %s, %s, %s, 'succeeded', %s, %s, %s, %s, %s, %s)""",
            (
                *(key, order["order_id"], order["payment_id"], order["event_id"]),
                *(order["provider"], order["instrument"], order["currency"]),
                *(self.chance.randrange(1, 10**6), self.chance.randrange(100), at, at, LATE),
            ),
        )
        self.made.note("refunds", "added", day, order["event_id"])

    def _payment(self, order: dict[str, Any]) -> None:
        day, at, key = self._instant()
        self.connection.execute(
            """INSERT INTO payments (payment_id, order_id, event_id, provider, instrument, status,
                currency, amount_minor, processing_fee_minor, created_at, confirmed_at, updated_at)
            VALUES (%s, %s, %s, %s, %s, 'confirmed', %s, %s, %s, %s, %s, %s)""",
            (
                *(key, order["order_id"], order["event_id"], order["provider"]),
                *(order["instrument"], order["currency"]),
                *(self.chance.randrange(1, 10**6), self.chance.randrange(500), at, at, LATE),
            ),
        )
        self.made.note("payments", "added", day, order["event_id"])

    def _check_in(self, ticket: dict[str, Any]) -> None:
        day, at, key = self._instant()
        self.connection.execute(
            """INSERT INTO check_ins (check_in_id, ticket_id, order_id, event_id, ticket_type_id,
                scanned_at, uploaded_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
            (key, *ticket.values(), at, LATE, LATE),
        )
        self.made.note("check_ins", "added", day, ticket["event_id"])

    def _order(self, kind: dict[str, Any]) -> None:
        day, at, key = self._instant()
        self.connection.execute(
            """INSERT INTO orders (order_id, event_id, buyer_email, status, channel, currency,
                total_minor, placed_at, completed_at, updated_at)
            VALUES (%s, %s, %s, 'completed', 'web', %s, %s, %s, %s, %s)""",
            (
                *(key, kind["event_id"], f"late{key}@example.org", kind["currency"]),
                *(kind["price_minor"], at, at, LATE),
            ),
        )
        self.connection.execute(
            """INSERT INTO tickets (ticket_id, order_id, event_id, ticket_type_id, currency,
                list_price_minor, charged_minor, status, issued_at, updated_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, 'issued', %s, %s)""",
            (
                *(key, key, kind["event_id"], kind["ticket_type_id"], kind["currency"]),
                *(kind["price_minor"], kind["price_minor"], at, LATE),
            ),
        )
        self.made.note("orders", "added", day, kind["event_id"])
        self.made.note("tickets", "added", day, kind["event_id"])

    def _old(self, table: str, key: str, at: str, count: int) -> list[dict[str, Any]]:
        """Rows of closed days that were there before."""
        rows = self._all(
            f"""SELECT {key} AS key, event_id, ({at} AT TIME ZONE '{TIME_ZONE}')::date AS day
            FROM {table} WHERE NOT is_test AND {key} < 1000000000 AND updated_at <> %s
              AND ({at} AT TIME ZONE '{TIME_ZONE}')::date BETWEEN %s AND %s ORDER BY 1""",
            *(LATE, FIRST, LAST),
        )
        return self.chance.sample(rows, count)

    def _correct(self, table: str, key: str, at: str, change: str, count: int) -> None:
        for row in self._old(table, key, at, count):
            self.connection.execute(
                f"UPDATE {table} SET {change}, updated_at = %s WHERE {key} = %s".encode(),
                (LATE, row["key"]),
            )
            moved = "moved" if "provider" in change else "changed"
            self.made.note(table, moved, row["day"], row["event_id"])

    def _delete(self, table: str, key: str, at: str, count: int) -> None:
        for row in self._old(table, key, at, count):
            self.connection.execute(f"DELETE FROM {table} WHERE {key} = %s".encode(), (row["key"],))
            self.made.note(table, "removed", row["day"], row["event_id"])


@dataclass
class Restated:
    """A platform before and after late rows."""

    deployment: Deployment
    injected: Injected
    before: dict[str, Cells]
    after: dict[str, Cells]
    source_before: Cells
    source_after: Cells
    result: dg.ExecuteInProcessResult

    def told(self, dataset: str) -> list[dict[str, Any]]:
        return self.deployment.rows(
            "SELECT * FROM ops.restatements WHERE dataset = %s ORDER BY 1", (dataset,)
        )

    def changed(self, dataset: str) -> dict[tuple[Any, ...], tuple[int, int]]:
        old, new = self.before[dataset], self.after[dataset]
        return {
            key: (old.get(key, 0), new.get(key, 0))
            for key in old.keys() | new.keys()
            if old.get(key, 0) != new.get(key, 0)
        }


def cells(deployment: Deployment, dataset: Dataset) -> Cells:
    names = [column.name for column in dataset.grain]
    return {
        (*(str(row[name]) for name in names), metric): row[metric]
        for row in deployment.rows(f"SELECT * FROM reporting.{dataset.name}")
        for metric in dataset.metric_names
    }


def published(deployment: Deployment) -> dict[str, Cells]:
    return {name: cells(deployment, DATASETS[name]) for name in (*DAILY, *PERIODS)}


def at_source(deployment: Deployment) -> Cells:
    query = (SQL / "independent_daily.sql").read_bytes()
    with psycopg.connect(deployment.source_owner_url) as connection:
        rows = connection.execute(query, {"time_zone": TIME_ZONE}).fetchall()
    return {tuple(row[:4]): row[4] for row in rows if FIRST <= row[2] <= LAST}


def run_all(deployment: Deployment) -> dg.ExecuteInProcessResult:
    result = deployment.run("refresh_days", str(FIRST), str(LAST))
    deployment.run("roll_up_weeks", str(FIRST), str(week_start(LAST)))
    deployment.run("roll_up_months", "2026-01-01", "2026-03-01")
    return result


@pytest.fixture(scope="module")
def restated(make_deployment: Callable[..., Deployment]) -> Restated:
    """Nine weeks of a platform, closed and published; 500 late rows; published anew."""
    deployment = make_deployment(start_date=FIRST, duckdb_threads=2)
    until = datetime(2026, 3, 20, 12, tzinfo=UTC)
    seed(deployment.source_owner_url, orders=4_000, until=until, months=3, seed=7)
    run_all(deployment)
    before, source_before = published(deployment), at_source(deployment)
    with psycopg.connect(deployment.settings.warehouse_owner_url.get_secret_value()) as owner:
        owner.execute("UPDATE ops.partitions SET final_at = now() WHERE partition_key < '2026-02'")
    with psycopg.connect(
        deployment.source_owner_url, autocommit=True, row_factory=dict_row
    ) as connection:
        injected = Injection(connection).run()
    result = run_all(deployment)
    return Restated(
        *(deployment, injected, before, published(deployment)),
        *(source_before, at_source(deployment), result),
    )


def test_500_late_rows_over_the_closed_days_were_injected(restated: Restated) -> None:
    assert restated.injected.rows == 500, f"seed {SEED}"
    assert len({day for day, _, _ in restated.injected.kinds}) > 55


@pytest.mark.parametrize("name", [*DAILY, "weekly_revenue"])
def test_each_changed_value_has_exactly_one_restatement_and_unchanged_ones_none(
    restated: Restated, name: str
) -> None:
    dataset = DATASETS[name]
    told = restated.told(name)
    keys = [
        (
            row["partition_key"],
            *(
                str(row[column.name] if column.name in row else row["scope"][column.name])
                for column in dataset.grain[1:]
            ),
            row["metric"],
        )
        for row in told
    ]
    assert max(Counter(keys).values()) == 1
    values = [(row["old_value"], row["new_value"]) for row in told]
    assert dict(zip(keys, values, strict=True)) == restated.changed(name), f"seed {SEED}"
    assert len(told) > 100


def test_a_period_in_progress_has_no_restatement(restated: Restated) -> None:
    """March is not over on its last published day; February is."""
    changed = {key[0] for key in restated.changed("monthly_revenue")}
    told = {row["partition_key"] for row in restated.told("monthly_revenue")}
    assert changed == {"2026-01-01", "2026-02-01", "2026-03-01"}
    assert told == {"2026-02-01"}, "January begins before the first published day"


def test_the_deltas_are_what_was_injected(restated: Restated) -> None:
    """Beside plain SQL on the source, before and after."""
    compared = {key[3] for key in restated.source_before}
    at_the_source = {
        key: delta
        for key in restated.source_before.keys() | restated.source_after.keys()
        if (delta := restated.source_after.get(key, 0) - restated.source_before.get(key, 0))
    }
    told: Counter[tuple[Any, ...]] = Counter()
    for row in restated.told("daily_metrics"):
        day = date.fromisoformat(row["partition_key"])
        if row["metric"] in compared:
            key = (row["organizer_id"], row["currency"], day, row["metric"])
            told[key] += row["new_value"] - row["old_value"]
    assert {key: delta for key, delta in told.items() if delta} == at_the_source, f"seed {SEED}"
    assert len(at_the_source) > 300


@pytest.mark.parametrize("name", DAILY)
def test_the_movements_of_a_restated_value_sum_to_its_change(restated: Restated, name: str) -> None:
    behind: dict[tuple[Any, ...], Counter[str]] = {}
    for row in restated.deployment.rows("SELECT * FROM ops.restatement_movements"):
        assert row["recorded_at"] is not None
        behind.setdefault(_cell(row), Counter()).update(row["deltas"])
    for row in restated.told(name):
        metric = METRICS[row["metric"]]
        deltas = behind[_cell(row)]
        if not isinstance(metric, Distinct):
            explained = sum(sign * deltas[term] for term, sign in terms(metric).items())
            assert explained == row["new_value"] - row["old_value"], row


def _cell(row: dict[str, Any]) -> tuple[Any, ...]:
    scope = tuple(sorted(row["scope"].items()))
    return row["publication_id"], row["organizer_id"], row["event_id"], row["currency"], scope


def test_the_cause_is_what_happened_to_the_rows(restated: Restated) -> None:
    facts = {
        "refunds": ("refunds", "late_refund"),
        "payments": ("payments", "late_data"),
        "check_ins": ("check_ins", "late_data"),
        "orders": ("orders", "late_data"),
        "buyers": ("orders", "late_data"),
    }
    seen = Counter()
    for row in restated.told("daily_metrics"):
        assert row["cause"] not in ("backfill", "definition_change"), row
        if row["metric"] not in facts:
            continue
        fact, late = facts[row["metric"]]
        day = date.fromisoformat(row["partition_key"])
        kinds = restated.injected.kinds[day, row["event_id"], fact] - {"moved"}
        expected = (
            "deletion" if "removed" in kinds else "correction" if "changed" in kinds else late
        )
        assert row["cause"] == expected, (row, kinds)
        seen[row["cause"]] += 1
    assert set(seen) == {"deletion", "correction", "late_refund", "late_data"}


def test_a_payment_given_to_another_provider_is_a_correction_of_both(restated: Restated) -> None:
    moved = {key for key, kinds in restated.injected.kinds.items() if "moved" in kinds}
    told = {
        (date.fromisoformat(row["partition_key"]), row["event_id"], "payments")
        for row in restated.told("daily_payments")
        if row["cause"] == "correction" and row["metric"] == "payments_count"
    }
    assert moved <= told


def test_a_rollup_takes_the_most_severe_cause_of_its_days(restated: Restated) -> None:
    days = restated.told("daily_metrics")
    for name, start in PERIODS.items():
        of_days: dict[tuple[Any, ...], set[str]] = {}
        deltas: Counter[tuple[Any, ...]] = Counter()
        for row in days:
            period = start(date.fromisoformat(row["partition_key"])).isoformat()
            key = (period, row["event_id"], row["currency"], row["metric"])
            of_days.setdefault(key, set()).add(row["cause"])
            deltas[key] += row["new_value"] - row["old_value"]
        for row in restated.told(name):
            key = (row["partition_key"], row["event_id"], row["currency"], row["metric"])
            assert row["cause"] == min(of_days[key], key=SEVERITY.index)
            if row["metric"] != "buyers":
                assert row["new_value"] - row["old_value"] == deltas[key]


def test_a_final_period_says_so_and_stays_final(restated: Restated) -> None:
    was_final = {
        (row["partition_key"] < "2026-02", row["was_final"])
        for name in (*DAILY, *PERIODS)
        for row in restated.told(name)
    }
    assert was_final == {(True, True), (False, False)}
    kept = restated.deployment.rows(
        "SELECT DISTINCT final_at IS NOT NULL AS kept FROM ops.partitions"
        " WHERE partition_key < '2026-02'"
    )
    assert kept == [{"kept": True}]


def test_the_partition_shows_what_was_restated(restated: Restated) -> None:
    told = Counter(row["partition_key"] for row in restated.told("daily_metrics"))
    events = restated.result.get_asset_materialization_events()
    shown = {
        event.partition: event.materialization.metadata
        for event in events
        if event.asset_key == dg.AssetKey("daily_metrics")
    }
    for key, metadata in shown.items():
        if key not in told:
            assert "restated_cells" not in metadata
            continue
        assert metadata["restated_cells"].value == told[key]
        table = str(metadata["restatements"].value)
        assert f"{min(20, told[key])} of {told[key]:,} restated values" in table
        assert ("THIS PERIOD WAS FINAL" in table) is (key < "2026-02")


def test_a_version_whose_snapshot_is_gone_is_explained_while_its_reading_is_in_the_lake(
    restated: Restated,
) -> None:
    deployment = restated.deployment
    key = "2026-03-01"
    deployment.run("refresh_days", str(LAST))  # a later snapshot, with that day as it was
    deployment.lake.tidy(timedelta(0), timedelta(days=1))
    deployment.source(
        """UPDATE payments SET amount_minor = amount_minor + 1 WHERE payment_id = (
            SELECT min(payment_id) FROM payments WHERE NOT is_test
            AND confirmed_at >= '2026-03-01Z' AND confirmed_at < '2026-03-01 12:00Z')"""
    )
    deployment.run("refresh_days", key)
    newest = """SELECT max(publication_id) AS id FROM ops.publications
        WHERE dataset = 'daily_metrics' AND partition_key = '2026-03-01'"""
    [told] = deployment.rows(
        f"""SELECT cause, new_value - old_value AS delta FROM ops.restatements
        WHERE publication_id = ({newest}) AND metric = 'payments'"""
    )
    assert told == {"cause": "correction", "delta": 1}
    [movement] = deployment.rows(
        f"SELECT deltas FROM ops.restatement_movements WHERE publication_id = ({newest})"
    )
    assert movement == {"deltas": {"payments": 1}}


def test_a_version_whose_reading_is_gone_explains_nothing(restated: Restated) -> None:
    days = DayRange(TIME_ZONE, FIRST, LAST)
    deployment = restated.deployment
    deployment.run("refresh_days", str(LAST))
    deployment.lake.tidy(timedelta(0), timedelta(days=1))
    with deployment.lake.session() as connection:
        snapshot = current_snapshot(connection)
    long_ago = datetime(2026, 3, 21, tzinfo=UTC)
    versions = (Version(1, 1, 1, long_ago, "code"), Version(2, 2, snapshot, long_ago, "code"))
    with ledger_history(deployment.lake, days) as history:
        assert history.changes(DAILY_METRICS, str(FIRST), versions, [1]) is None
