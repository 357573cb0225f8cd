"""What is behind a published number, what readers saw before, and whether it all adds up.

One small platform, run through the whole flow once; every test leaves it as it found it, except the
late correction, which all tests after it live with, and the last one, which forgets old snapshots.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl
import psycopg
import pytest
from dagster._core.definitions.freshness import CronFreshnessPolicy
from typer.testing import CliRunner

from assets import as_of as as_of_module
from assets import explain as explain_module
from assets import ledger
from assets.as_of import AsOfError, Origin, Then, as_of, parse_instant
from assets.explain import Explanation, explain, explain_all
from assets.ledger import read_ledger
from assets.scoreboard import last_due
from assets.statements import movements_view
from local.ticketing.seed import seed
from metrics.calendar import DayRange
from metrics.datasets import DATASETS
from pipelines.cli import app
from tests.deployment import Deployment
from warehouse.cells import Cell, UnknownCellError
from warehouse.freshness import read_freshness
from warehouse.proofs import prove_now
from warehouse.publish import connect

TIME_ZONE = "Africa/Nairobi"
FIRST, LAST = date(2026, 2, 2), date(2026, 2, 16)
COMMON = ("organizer_id", "event_id", "currency")
WEEK, SECOND_WEEK = date(2026, 2, 2), date(2026, 2, 9)


@pytest.fixture(scope="module")
def platform(make_deployment: Callable[..., Deployment]) -> Deployment:
    deployment = make_deployment(start_date=FIRST)
    seed(
        deployment.source_owner_url,
        orders=1_500,
        until=datetime(2026, 2, 16, 12, tzinfo=UTC),
        months=1,
        seed=11,
        time_zone=TIME_ZONE,
    )
    deployment.run("refresh_days", str(FIRST), str(LAST))
    deployment.run("roll_up_weeks", "2026-02-02", "2026-02-09")
    deployment.run("roll_up_months", "2026-02-01")
    deployment.run("summarize_events")
    return deployment


def _warehouse(deployment: Deployment) -> str:
    return deployment.settings.warehouse_url.get_secret_value()


def _explain(deployment: Deployment, cell: Cell) -> Explanation:
    return explain(deployment.lake, _warehouse(deployment), cell)


def _as_of(deployment: Deployment, instant: datetime, dataset: str, day: date) -> Then:
    found = as_of(deployment.lake, _warehouse(deployment), dataset, instant, TIME_ZONE, day, day)
    assert len(found) == 1
    return found[0]


def _owner(deployment: Deployment, statement: str) -> None:
    url = deployment.settings.warehouse_owner_url.get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


@contextmanager
def _edited(deployment: Deployment, statement: str, undo: str) -> Iterator[None]:
    _owner(deployment, statement)
    try:
        yield
    finally:
        _owner(deployment, undo)


def _cells(deployment: Deployment, dataset: str, rows: int) -> list[tuple[Cell, int]]:
    """Every metric of rows of a dataset, those with most values that are not zero."""
    declared = DATASETS[dataset]
    period, names = declared.grain[0].name, declared.metric_names
    filled = " + ".join(f"({name} <> 0)::int" for name in names)
    found = deployment.rows(
        f"SELECT * FROM reporting.{dataset} ORDER BY {filled} DESC, event_id, {period} LIMIT {rows}"
    )
    parts = [c.name for c in declared.grain[1:] if c.name not in COMMON]
    return [
        (
            Cell(
                dataset,
                name,
                row["event_id"],
                None if declared.period == "all" else row[period],
                row["currency"],
                {part: row[part] for part in parts},
            ),
            row[name],
        )
        for row in found
        for name in names
    ]


@pytest.mark.parametrize(
    ("dataset", "rows"),
    [
        ("daily_metrics", 2),
        ("daily_payments", 2),
        ("daily_ticket_types", 2),
        ("weekly_revenue", 1),
        ("monthly_revenue", 1),
        ("event_summary", 1),
    ],
)
def test_the_movements_behind_every_metric_sum_to_it(
    platform: Deployment, dataset: str, rows: int
) -> None:
    cells = _cells(platform, dataset, rows)
    found = explain_all(platform.lake, _warehouse(platform), [cell for cell, _ in cells])
    with_movements = set()
    for (cell, value), explanation in zip(cells, found, strict=True):
        assert explanation.found.value == value, cell
        assert sum(explanation.movements["contribution"]) == value, cell
        assert (explanation.difference, explanation.notes) == (0, ()), cell
        assert explanation.movements["movement_id"].is_unique().all()
        if explanation.movements.height:
            with_movements.add(cell.metric)
    # Not a test of zeros: nearly every metric has something to explain.
    assert len(with_movements) >= 0.7 * len(DATASETS[dataset].metric_names), with_movements


def test_parts_that_are_not_given_are_summed_and_an_absent_row_is_zero(
    platform: Deployment,
) -> None:
    row = platform.rows(
        "SELECT event_id, business_date, sum(payments)::bigint AS payments"
        " FROM reporting.daily_payments GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 3 DESC LIMIT 1"
    )[0]
    found = _explain(
        platform, Cell("daily_payments", "payments", row["event_id"], row["business_date"])
    )
    assert (found.found.value, found.difference) == (row["payments"], 0)
    assert found.found.rows > 1
    absent = platform.rows(
        """SELECT m.event_id, m.business_date FROM reporting.daily_metrics AS m
        LEFT JOIN reporting.daily_payments AS p USING (event_id, business_date)
        WHERE p.event_id IS NULL LIMIT 1"""
    )[0]
    nothing = _explain(
        platform, Cell("daily_payments", "payments", absent["event_id"], absent["business_date"])
    )
    assert (nothing.found.value, nothing.total, nothing.found.rows) == (0, 0, 0)
    assert "without a row" in nothing.notes[0]


def test_what_does_not_exist_is_refused_with_what_does(platform: Deployment) -> None:
    event = platform.rows("SELECT min(event_id) AS event FROM reporting.event_summary")[0]["event"]
    wrong = [
        (Cell("daily_metric", "refunds", event, LAST), "there is no dataset"),
        (Cell("daily_payments", "orders", event, LAST), "it has payments, payments_count"),
        (Cell("daily_metrics", "aov", event, LAST), "gross_revenue / paid_orders"),
        (Cell("daily_metrics", "refunds", 987_654, LAST), "event 987654 is in no published day"),
        (Cell("daily_metrics", "refunds", event, FIRST - timedelta(days=1)), "from 2026-02-02"),
        (Cell("daily_metrics", "refunds", event), "give a day of it"),
    ]
    for cell, message in wrong:
        with pytest.raises(UnknownCellError, match=message):
            _explain(platform, cell)
    with pytest.raises(UnknownCellError, match="it has provider, instrument"):
        _explain(platform, Cell("daily_payments", "refunds", event, LAST, scope={"gate": "A"}))
    busy = platform.rows("SELECT event_id, currency FROM reporting.event_summary LIMIT 1")[0]
    other = "USD" if busy["currency"] != "USD" else "KES"
    with pytest.raises(UnknownCellError, match=f"choose one of {busy['currency']}"):
        _explain(platform, Cell("event_summary", "refunds", busy["event_id"], currency=other))


@dataclass(frozen=True)
class Correction:
    """A payment's amount was corrected after its day was published."""

    before: datetime
    after: datetime
    day: date
    event: int
    currency: str
    old: int
    new: int


@pytest.fixture(scope="module")
def correction(platform: Deployment) -> Correction:
    with psycopg.connect(platform.source_owner_url, autocommit=True) as connection:
        payment, event, currency, day = connection.execute(
            """SELECT payment_id, event_id, currency,
                      (confirmed_at AT TIME ZONE 'Africa/Nairobi')::date
            FROM payments WHERE NOT is_test
              AND confirmed_at >= '2026-02-03 21:00Z' AND confirmed_at < '2026-02-05 21:00Z'
            ORDER BY payment_id LIMIT 1"""
        ).fetchone() or pytest.fail("no payment")
        query = (
            "SELECT payments FROM reporting.daily_metrics WHERE event_id = %s AND currency = %s"
            " AND business_date = %s"
        )
        old = platform.rows(query, (event, currency, day))[0]["payments"]
        before = datetime.now(UTC)
        connection.execute(
            "UPDATE payments SET amount_minor = amount_minor + 12300, updated_at = now()"
            " WHERE payment_id = %s",
            (payment,),
        )
    platform.run("refresh_days", str(day))
    platform.run("roll_up_weeks", str(WEEK))
    new = platform.rows(query, (event, currency, day))[0]["payments"]
    assert new == old + 12_300
    return Correction(before, datetime.now(UTC), day, event, currency, old, new)


def _payments(then: Then, event: int, currency: str) -> int:
    assert then.rows is not None, then.problem
    of_event = then.rows.filter((pl.col("event_id") == event) & (pl.col("currency") == currency))
    return sum(of_event["payments"].to_list())


def test_as_of_gives_what_readers_saw_before_and_after_a_correction(
    platform: Deployment, correction: Correction
) -> None:
    event, currency = correction.event, correction.currency
    for dataset, day in (
        ("daily_metrics", correction.day),
        ("daily_payments", correction.day),
        ("weekly_revenue", WEEK),
    ):
        then = _as_of(platform, correction.before, dataset, day)
        now = _as_of(platform, correction.after, dataset, day)
        assert (then.origin, now.origin) == (Origin.REBUILT, Origin.PRESENT), then.problem
        assert then.version is not None
        assert now.version is not None
        assert then.version["publication_id"] < now.version["publication_id"]
        grown = _payments(now, event, currency) - _payments(then, event, currency)
        assert grown == correction.new - correction.old, dataset
    untouched = _as_of(platform, correction.before, "weekly_revenue", SECOND_WEEK)
    assert untouched.origin == Origin.PRESENT
    early = _as_of(platform, datetime(2026, 1, 1, tzinfo=UTC), "daily_metrics", correction.day)
    assert (early.origin, early.rows) == (Origin.ABSENT, None)


def test_a_definition_that_changed_since_is_said_and_nothing_is_guessed(
    platform: Deployment, correction: Correction, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubled(lake: str = "lake") -> str:
        return movements_view(lake).replace(
            "amount_minor AS payments", "2 * amount_minor AS payments"
        )

    for module in (ledger, explain_module, as_of_module):
        monkeypatch.setattr(module, "movements_view", doubled)
    cell = Cell("daily_metrics", "payments", correction.event, correction.day, correction.currency)
    found = _explain(platform, cell)
    assert (found.found.value, found.total) == (correction.new, 2 * correction.new)
    assert "computed with definition" in found.notes[0]
    assert "publish the period anew" in found.notes[0]
    then = _as_of(platform, correction.before, "daily_metrics", correction.day)
    assert (then.origin, then.rows) == (Origin.UNKNOWN, None)
    assert "computed with definition" in then.problem


def test_the_passport_of_a_corrected_value_lists_its_restatement(
    platform: Deployment, correction: Correction
) -> None:
    found = _explain(platform, Cell("daily_metrics", "payments", correction.event, correction.day))
    assert (found.found.value, found.difference) == (correction.new, 0)
    restated = [(r.old_value, r.new_value, r.cause) for r in found.found.restatements]
    assert restated == [(correction.old, correction.new, "correction")]
    assert found.found.version.state == "provisional"
    assert {i.fact for i in found.found.inputs} >= {"orders", "payments", "refunds"}


def test_an_instant_needs_a_zone_and_the_summary_has_no_history(platform: Deployment) -> None:
    assert parse_instant("2026-03-02T09:00Z") == datetime(2026, 3, 2, 9, tzinfo=UTC)
    for text in ("2026-03-02T09:00", "yesterday"):
        with pytest.raises(AsOfError, match="write 2026-03-02T09:00Z"):
            parse_instant(text)
    for dataset, message in (("event_summary", "monthly_revenue"), ("orders", "there are daily")):
        with pytest.raises(AsOfError, match=message):
            _as_of(platform, datetime.now(UTC), dataset, FIRST)


def test_one_cent_in_a_finished_table_is_named_and_explained(platform: Deployment) -> None:
    def wrong() -> dict[str, list[str]]:
        with connect(_warehouse(platform)) as connection:
            proofs = prove_now(connection, datetime.now(UTC))
        # February's first day is not there, so its month cannot be compared with its days.
        assert [p.hop for p in proofs if not p.cells] == ["published days -> monthly_revenue"]
        return {proof.hop: list(proof.differences) for proof in proofs if proof.differences}

    assert wrong() == {}
    row = platform.rows(
        "SELECT event_id, currency, business_date, tax FROM reporting.daily_metrics"
        " WHERE business_date = '2026-02-05' ORDER BY orders DESC, event_id LIMIT 1"
    )[0]
    edit = (
        "UPDATE reporting.daily_metrics SET tax = tax + {0}, gross_revenue = gross_revenue + {0},"
        " net_sales = net_sales + {0}"
        f" WHERE event_id = {row['event_id']} AND business_date = '2026-02-05'"
    )
    with _edited(platform, edit.format(1), edit.format(-1)):
        found = wrong()
        assert set(found) == {"daily_metrics -> postgres", "published days -> weekly_revenue"}
        total = sum(
            r["tax"]
            for r in platform.rows(
                "SELECT tax FROM reporting.daily_metrics WHERE business_date = '2026-02-05'"
                " AND currency = %s",
                (row["currency"],),
            )
        )
        assert (
            f"2026-02-05 {row['currency']} tax: published {total - 1}, now {total}"
            in found["daily_metrics -> postgres"]
        )
        explanation = _explain(
            platform, Cell("daily_metrics", "tax", row["event_id"], date(2026, 2, 5))
        )
        assert explanation.difference == 1
        assert "not what the pipeline published" in explanation.notes[0]
        then = _as_of(platform, datetime.now(UTC), "daily_metrics", date(2026, 2, 5))
        assert then.origin == Origin.REBUILT
    assert wrong() == {}


def test_one_cent_in_the_totals_of_the_source_is_named_by_the_ledger(platform: Deployment) -> None:
    day = date(2026, 2, 6)
    edit = (
        "UPDATE lake.source_totals SET value = value + {} WHERE measure = 'payments'"
        " AND business_date = DATE '2026-02-06' AND organizer_id ="
        " (SELECT min(organizer_id) FROM lake.source_totals WHERE measure = 'payments'"
        " AND business_date = DATE '2026-02-06')"
    )

    def differences() -> list[str]:
        found = read_ledger(platform.lake, DayRange(TIME_ZONE, day, day))
        assert found.cells_compared[day] > 20
        return [f"{d.hop}: {d}" for d in found.differences]

    def change(by: int) -> None:
        with platform.lake.session() as connection, platform.lake.commit(connection):
            connection.execute(edit.format(by))

    assert differences() == []
    change(1)
    try:
        found = differences()
        assert len(found) == 1
        assert found[0].startswith("raw -> movements: 2026-02-06, organizer ")
        assert ": payments is " in found[0]
    finally:
        change(-1)
    assert differences() == []


def test_the_newest_day_is_due_at_the_last_tick_but_one_by_the_schedule(
    platform: Deployment,
) -> None:
    now = datetime(2026, 2, 16, 10, 5, tzinfo=UTC)
    assert last_due("*/10 * * * *", TIME_ZONE, now) == datetime(2026, 2, 16, 9, 50, tzinfo=UTC)
    # At eight and at twenty in Nairobi: this morning's run may still be at it.
    assert last_due("0 8,20 * * *", TIME_ZONE, now) == datetime(2026, 2, 15, 17, tzinfo=UTC)
    policies = {
        spec.key.to_user_string(): spec.freshness_policy
        for spec in platform.definitions.resolve_all_asset_specs()
        if spec.freshness_policy is not None
    }
    assert set(policies) == {name for name, d in DATASETS.items() if d.period == "day"}
    for policy in policies.values():
        assert isinstance(policy, CronFreshnessPolicy)
        assert policy.deadline_cron == platform.settings.refresh_cron
        assert (policy.lower_bound_delta, policy.timezone) == (timedelta(minutes=10), TIME_ZONE)


def _check(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {
        check.check_name: (check.passed, check.description or "")
        for check in result.get_asset_check_evaluations()
    }


def test_the_scoreboard_proves_what_adds_up_and_names_what_is_missing(
    platform: Deployment, correction: Correction
) -> None:
    del correction
    fine = platform.run("prove")
    checks = _check(fine)
    passed = {name for name, (ok, _) in checks.items() if ok}
    assert passed >= {"adds_up", "partitions_complete", "no_failed_partitions", "nothing_waits"}
    assert not checks["fresh"][0]  # the sample ends in February
    shown = fine.asset_materializations_for_node("reconciliation")[0].metadata
    assert "movements -> daily_metrics" in str(shown["proofs"].value)
    final = {
        (row["dataset"], row["is_complete"], row["final_at"] is not None)
        for row in platform.rows("SELECT dataset, is_complete, final_at FROM ops.partitions")
    }
    # All of it is months old: whatever is complete is final, what is open is not.
    assert ("daily_metrics", True, True) in final
    assert ("weekly_revenue", True, True) in final
    assert all(is_final == is_complete for _, is_complete, is_final in final)

    _owner(
        platform,
        """CREATE TABLE ops.kept AS SELECT * FROM ops.partitions
            WHERE dataset = 'daily_payments' AND partition_key = '2026-02-07';
        DELETE FROM ops.partitions USING ops.kept AS k
            WHERE (partitions.dataset, partitions.partition_key) = (k.dataset, k.partition_key);
        INSERT INTO ops.late_days (business_date, fact, found_at, found_by, found)
            VALUES ('2026-02-08', 'refunds', now() - interval '61 minutes', 'change', '{}');
        UPDATE ops.extractions SET source_snapshot_at = now() - interval '1 day'
            WHERE fact = 'refunds' AND business_date = '2026-02-08';
        UPDATE ops.audits SET passed = false, failures = '[{"check": "reconciled"}]'
            WHERE dataset IN ('daily_metrics', 'movements') AND partition_key = '2026-02-09'""",
    )
    try:
        checks = _check(platform.run("prove"))
        assert checks["partitions_complete"] == (False, "daily_payments has no 2026-02-07")
        assert checks["no_failed_partitions"][1].split("; ") == [
            "daily_metrics 2026-02-09 is held back by reconciled",
            "movements 2026-02-09 is held back by reconciled",
        ]
        assert checks["nothing_waits"][1].startswith("refunds of 2026-02-08 changed")
        assert not checks["adds_up"][0]
        code, output = _run(platform, "status")
        assert code == 0, output
        assert "Held back: daily_metrics 2026-02-09" in output
        held = _explain(
            platform,
            Cell("daily_metrics", "orders", _any_event(platform), date(2026, 2, 9)),
        )
        layers = [held_back["dataset"] for held_back in held.found.held_back]
        assert layers == ["daily_metrics", "movements"]
        with connect(_warehouse(platform)) as connection:
            fresh = read_freshness(connection, TIME_ZONE)
        held_back = {d.dataset: d.held_back for d in fresh.datasets if d.held_back}
        assert held_back == dict.fromkeys(
            (name for name, d in DATASETS.items() if d.period == "day"), ("2026-02-09",)
        )
        assert all(h.serving_since is not None for h in fresh.held_back)
    finally:
        _owner(
            platform,
            """INSERT INTO ops.partitions SELECT * FROM ops.kept; DROP TABLE ops.kept;
            DELETE FROM ops.late_days;
            UPDATE ops.audits SET passed = true, failures = '[]'""",
        )


def _any_event(deployment: Deployment) -> int:
    found = deployment.rows(
        "SELECT event_id FROM reporting.daily_metrics WHERE business_date = '2026-02-09'"
        " ORDER BY orders DESC LIMIT 1"
    )
    return int(found[0]["event_id"])


def _run(deployment: Deployment, *command: str) -> tuple[int, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.settings.get_settings", lambda: deployment.settings)
        patch.setenv("COLUMNS", "240")
        result = CliRunner().invoke(app, list(command))
    return result.exit_code, result.output


def test_the_commands_print_what_the_library_answers(
    platform: Deployment, correction: Correction
) -> None:
    cell = ["--event", str(correction.event), "--metric", "payments", "--day", str(correction.day)]
    code, output = _run(platform, "explain", "daily_metrics", *cell, "--json")
    answer = json.loads(output)
    assert (code, answer["value"], answer["difference"]) == (0, correction.new, 0)
    assert sum(row["contribution"] for row in answer["movements"]) == correction.new
    code, output = _run(platform, "explain", "daily_metrics", *cell, "--limit", "1")
    assert code == 0, output
    shown = f"{correction.new / 100:,.2f}".replace(",", "")
    assert shown in output.replace(",", "")
    if len(answer["movements"]) > 1:
        assert "(--limit); the sum is of all" in output
    code, output = _run(platform, "explain", "daily_metrics", *cell[:3], "profit", *cell[4:])
    assert (code, "has no metric 'profit'" in output) == (1, True)

    then = correction.before.isoformat()
    day = ["--day", str(correction.day), "--event", str(correction.event)]
    code, output = _run(platform, "as-of", then, "daily_metrics", *day, "--json")
    answer = json.loads(output)
    assert (code, answer[0]["origin"]) == (0, "rebuilt")
    assert sum(row["payments"] for row in answer[0]["rows"]) == correction.old
    code, output = _run(platform, "as-of", then, "daily_metrics", *day)
    assert (code, "rebuilt" in output) == (0, True)
    code, output = _run(platform, "as-of", "2026-03-02T09:00", "daily_metrics")
    assert (code, "has no time zone" in output) == (1, True)

    code, output = _run(platform, "status", "--json")
    answer = json.loads(output)
    assert {d["dataset"] for d in answer["datasets"]} == set(DATASETS)
    assert answer["datasets"][0]["complete_through"] == "2026-02-16"


def test_a_forgotten_snapshot_is_said_and_nothing_is_guessed(
    platform: Deployment, correction: Correction
) -> None:
    platform.lake.tidy(timedelta(0), timedelta(days=1))
    then = _as_of(platform, correction.before, "daily_metrics", correction.day)
    assert (then.origin, then.rows) == (Origin.UNKNOWN, None)
    assert "can no longer be read" in then.problem
    week = _as_of(platform, correction.before, "weekly_revenue", WEEK)
    assert (week.origin, week.rows) == (Origin.UNKNOWN, None)
    assert f"day {correction.day} it was summed from" in week.problem
    # Readers still see the version of now, and the present lake explains it.
    assert _as_of(platform, correction.after, "daily_metrics", correction.day).rows is not None
    found = _explain(platform, Cell("daily_metrics", "payments", correction.event, correction.day))
    assert (found.found.value, found.difference) == (correction.new, 0)
    assert "the lake as it is now" in found.notes[0]
