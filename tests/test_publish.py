"""Publication: one version at a time, newest input wins, readers see old or new."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import psycopg
import pytest

from metrics.datasets import DAILY_METRICS, DAILY_PAYMENTS, Dataset
from tests.deployment import Deployment
from warehouse import faults
from warehouse.audits import PartitionAudit, record_audits
from warehouse.extractions import record_extraction
from warehouse.faults import FaultPoint
from warehouse.migrate import check, upgrade
from warehouse.publish import (
    ControlSumError,
    Outcome,
    Provenance,
    Publication,
    connect,
    next_attempt,
    publish,
)
from warehouse.restatements import Behind, LedgerChanges, Version

DAY = date(2026, 3, 2)
KEY = DAY.isoformat()


@pytest.fixture
def warehouse(urls: tuple[str, str, str]) -> Iterator[psycopg.Connection[dict[str, object]]]:
    """A connection as publisher to an emptied warehouse."""
    with psycopg.connect(urls[0], autocommit=True) as connection:
        connection.execute(
            "TRUNCATE reporting.daily_payments, reporting.daily_metrics, ops.partitions,"
            " ops.publications, ops.extractions, ops.audits CASCADE"
        )
    with connect(urls[1]) as connection:
        yield connection


def rows(*amounts: int, currency: str = "KES") -> pl.DataFrame:
    """One row of daily_payments for each amount."""
    return pl.DataFrame(
        {
            "business_date": [DAY] * len(amounts),
            "organizer_id": [1] * len(amounts),
            "event_id": list(range(1, len(amounts) + 1)),
            "currency": [currency] * len(amounts),
            "provider": ["MPESA"] * len(amounts),
            "instrument": ['a,"b"\n\\N'] * len(amounts),
            "payments": list(amounts),
            "payments_count": [1] * len(amounts),
            "refunds": [0] * len(amounts),
            "refunds_count": [0] * len(amounts),
            "chargebacks": [0] * len(amounts),
            "net_collected": list(amounts),
            "processing_fees": [0] * len(amounts),
        }
    )


def provenance(input_version: int, attempt: int, *, is_complete: bool = True) -> Provenance:
    return Provenance(
        run_id="run",
        attempt=attempt,
        input_version=input_version,
        lake_snapshot=input_version,
        code_version="code",
        source_watermark=datetime(2026, 3, 3, tzinfo=UTC),
        is_complete=is_complete,
    )


def put(
    connection: psycopg.Connection[dict[str, object]],
    frame: pl.DataFrame,
    input_version: int,
    attempt: int,
    **options: bool,
) -> Publication:
    return publish(
        connection, DAILY_PAYMENTS, KEY, frame, provenance(input_version, attempt, **options)
    )


def visible(connection: psycopg.Connection[dict[str, object]]) -> list[object]:
    found = connection.execute("SELECT payments FROM reporting.daily_payments ORDER BY event_id")
    return [row["payments"] for row in found.fetchall()]


def test_a_partition_is_replaced_and_described(
    warehouse: psycopg.Connection[dict[str, object]],
) -> None:
    first = put(warehouse, rows(100, 200), 1, 1)
    assert first.outcome is Outcome.PUBLISHED
    assert first.control_sums["KES"]["payments"] == 300
    second = put(warehouse, rows(100, 250, 7), 2, 2)
    assert second.outcome is Outcome.PUBLISHED
    assert second.data_version != first.data_version
    assert visible(warehouse) == [100, 250, 7]
    text = warehouse.execute("SELECT DISTINCT instrument FROM reporting.daily_payments").fetchall()
    assert text == [{"instrument": 'a,"b"\n\\N'}]


def test_identical_content_changes_nothing(
    warehouse: psycopg.Connection[dict[str, object]],
) -> None:
    first = put(warehouse, rows(100, 200), 1, 1)
    xmin = "SELECT xmin::text FROM reporting.daily_payments ORDER BY event_id"
    written = warehouse.execute(xmin).fetchall()
    again = put(warehouse, rows(100, 200), 5, 9)
    assert again.outcome is Outcome.UNCHANGED
    assert again.publication_id == first.publication_id
    assert warehouse.execute(xmin).fetchall() == written
    # The newer input was compared: an older one with other content must not come back.
    assert put(warehouse, rows(999), 3, 10).outcome is Outcome.SUPERSEDED
    assert visible(warehouse) == [100, 200]


@pytest.mark.parametrize(
    ("input_version", "attempt", "outcome"),
    [
        (11, 1, Outcome.PUBLISHED),  # a newer input wins, whoever computed it
        (10, 6, Outcome.PUBLISHED),  # the same input, computed again later
        (10, 4, Outcome.SUPERSEDED),  # a step that outlived its worker
        (9, 99, Outcome.SUPERSEDED),  # a retry that read an older input
    ],
)
def test_an_older_input_or_attempt_is_fenced_out(
    warehouse: psycopg.Connection[dict[str, object]],
    input_version: int,
    attempt: int,
    outcome: Outcome,
) -> None:
    put(warehouse, rows(1), 10, 5)
    result = put(warehouse, rows(2), input_version, attempt)
    assert result.outcome is outcome
    assert visible(warehouse) == ([2] if outcome is Outcome.PUBLISHED else [1])


def test_rows_that_somebody_edited_are_put_back_by_publishing_the_same_content(
    warehouse: psycopg.Connection[dict[str, object]], urls: tuple[str, str, str]
) -> None:
    first = put(warehouse, rows(100, 200), 1, 1)
    with psycopg.connect(urls[0]) as owner:
        # Moved from one event to another: no sum tells it.
        owner.execute("UPDATE reporting.daily_payments SET payments = 150, net_collected = 150")
    again = put(warehouse, rows(100, 200), 2, 2)
    assert again.outcome is Outcome.RESTORED
    assert again.publication_id == first.publication_id
    assert visible(warehouse) == [100, 200]
    assert put(warehouse, rows(100, 200), 3, 3).outcome is Outcome.UNCHANGED


def test_becoming_complete_is_a_publication_even_with_the_same_rows(
    warehouse: psycopg.Connection[dict[str, object]],
) -> None:
    put(warehouse, rows(1), 1, 1, is_complete=False)
    assert put(warehouse, rows(1), 2, 2, is_complete=True).outcome is Outcome.PUBLISHED
    states = warehouse.execute("SELECT is_complete FROM ops.publications ORDER BY 1").fetchall()
    assert states == [{"is_complete": False}, {"is_complete": True}]


def test_an_empty_partition_is_published_with_no_rows(
    warehouse: psycopg.Connection[dict[str, object]],
) -> None:
    put(warehouse, rows(1), 1, 1)
    assert put(warehouse, rows(), 2, 2).row_count == 0
    assert visible(warehouse) == []


def test_a_row_that_breaks_an_identity_leaves_the_old_version(
    warehouse: psycopg.Connection[dict[str, object]],
) -> None:
    put(warehouse, rows(1), 1, 1)
    broken = rows(5).with_columns(net_collected=pl.lit(4))
    with pytest.raises(psycopg.errors.CheckViolation):
        put(warehouse, broken, 2, 2)
    assert visible(warehouse) == [1]
    assert warehouse.execute("SELECT count(*) AS n FROM ops.publications").fetchall() == [{"n": 1}]


def restatements(connection: psycopg.Connection[dict[str, object]]) -> list[tuple[object, ...]]:
    found = connection.execute(
        "SELECT event_id, metric, old_value, new_value, cause, was_final FROM ops.restatements"
        " ORDER BY event_id, metric"
    )
    return [tuple(row.values()) for row in found.fetchall()]


@pytest.mark.parametrize(
    ("code_version", "cause"), [("code", "backfill"), ("other code", "definition_change")]
)
def test_a_closed_partition_that_changes_is_restated_even_if_no_movement_explains_it(
    warehouse: psycopg.Connection[dict[str, object]], code_version: str, cause: str
) -> None:
    put(warehouse, rows(100, 200), 1, 1, is_complete=False)
    first = put(warehouse, rows(100, 210), 2, 2)
    assert restatements(warehouse) == [], "an open partition goes on changing"
    new = replace(provenance(3, 3), code_version=code_version)
    publication = publish(warehouse, DAILY_PAYMENTS, KEY, rows(100, 250, 7), new)
    assert restatements(warehouse) == [
        (event, metric, old, value, cause, False)
        for event, metric, old, value in (
            (2, "net_collected", 210, 250),
            (2, "payments", 210, 250),
            (3, "net_collected", 0, 7),
            (3, "payments", 0, 7),
            (3, "payments_count", 0, 1),
        )
    ]
    assert len(publication.restatements) == 5
    versions = warehouse.execute(
        "SELECT DISTINCT publication_id AS new, replaced_publication_id AS old, scope, run_id"
        " FROM ops.restatements"
    ).fetchall()
    scope = {"provider": "MPESA", "instrument": 'a,"b"\n\\N'}
    ids = {"new": publication.publication_id, "old": first.publication_id}
    assert versions == [{**ids, "scope": scope, "run_id": "run"}]


def test_rows_that_vanish_from_a_closed_partition_are_restated_to_zero(
    warehouse: psycopg.Connection[dict[str, object]],
) -> None:
    put(warehouse, rows(100), 1, 1)
    put(warehouse, rows(), 2, 2)
    assert [row[2:4] for row in restatements(warehouse)] == [(100, 0), (100, 0), (1, 0)]


class Scripted:
    """A history in which what is behind a change is told by the test."""

    def __init__(self, *behind: Behind) -> None:
        self.behind = behind

    def changes(
        self,
        dataset: Dataset,
        partition_key: str,
        versions: tuple[Version, Version],
        events: Collection[int],
    ) -> LedgerChanges:
        snapshots = [version.lake_snapshot for version in versions]
        assert (partition_key, snapshots, set(events)) == (KEY, [1, 2], {1})
        cell = (1, 1, "KES", ("MPESA", 'a,"b"\n\\N'))
        measures = ("payments", "refunds")
        return LedgerChanges(
            {(cell, m): b for m, b in zip(measures, self.behind, strict=False)}, ()
        )


@pytest.mark.parametrize(
    ("behind", "cause"),
    [
        ([Behind(50, 1, 1, 1, 1)], "deletion"),
        ([Behind(50, 0, 1, 1, 1)], "correction"),
        ([Behind(50, 0, 0, 1, 1)], "late_data"),
        ([Behind(50, 0, 0, 1, 0)], "late_refund"),
        ([Behind(49, 1, 1, 1, 1)], "backfill"),  # a cent remains unexplained
        ([], "backfill"),
        # Of net_collected the refunds count with their sign: 20 - (-30) = 50.
        ([Behind(20, 0, 0, 0, 1), Behind(-30, 1, 0, 0, 0)], "deletion"),
        ([Behind(20, 0, 0, 0, 1), Behind(30, 1, 0, 0, 0)], "backfill"),
    ],
)
def test_the_cause_is_that_of_movements_that_explain_the_change_exactly(
    warehouse: psycopg.Connection[dict[str, object]], behind: list[Behind], cause: str
) -> None:
    put(warehouse, rows(100), 1, 1)
    publish(warehouse, DAILY_PAYMENTS, KEY, rows(150), provenance(2, 2), Scripted(*behind))
    assert [row[4] for row in restatements(warehouse) if row[1] == "net_collected"] == [cause]


def test_a_publisher_stopped_within_its_transaction_leaves_the_old_version(
    warehouse: psycopg.Connection[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(warehouse, rows(1), 1, 1)

    def stop() -> None:
        assert visible(warehouse) == [2], "the rows are replaced when the point is reached"
        raise RuntimeError("stopped")

    monkeypatch.setitem(faults._armed, FaultPoint.PUBLISHING, stop)
    with pytest.raises(RuntimeError, match="stopped"):
        put(warehouse, rows(2), 2, 2)
    assert visible(warehouse) == [1]
    assert restatements(warehouse) == []


def test_postgres_must_hold_what_was_handed_over(
    warehouse: psycopg.Connection[dict[str, object]], urls: tuple[str, str, str]
) -> None:
    put(warehouse, rows(1), 1, 1)
    with psycopg.connect(urls[0], autocommit=True) as owner:
        owner.execute(
            """CREATE FUNCTION reporting.lose() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RETURN NULL; END'"""
        )
        owner.execute(
            "CREATE TRIGGER lose BEFORE INSERT ON reporting.daily_payments FOR EACH ROW"
            " WHEN (NEW.payments = 7) EXECUTE FUNCTION reporting.lose()"
        )
        try:
            with pytest.raises(ControlSumError, match="payments is 5, should be 12") as raised:
                put(warehouse, rows(5, 7), 2, 2)
        finally:
            owner.execute("DROP FUNCTION reporting.lose CASCADE")
    assert ("KES", "payments_count", 2, 1) in raised.value.differences
    assert visible(warehouse) == [1]


def test_an_audit_of_an_older_snapshot_does_not_replace_a_newer_one(
    warehouse: psycopg.Connection[dict[str, object]],
) -> None:
    def passed() -> list[object]:
        found = warehouse.execute("SELECT passed, cells_compared FROM ops.audits ORDER BY 1")
        return [tuple(row.values()) for row in found.fetchall()]

    failure = {"check": "reconciled", "what": "sums differ", "count": 1, "examples": ("a",)}
    record_audits(warehouse, "daily_payments", {KEY: PartitionAudit(5)}, 10, "run")
    assert passed() == [(True, 5)]
    record_audits(warehouse, "daily_payments", {KEY: PartitionAudit(4, [failure])}, 9, "run")
    assert passed() == [(True, 5)]
    record_audits(warehouse, "daily_payments", {KEY: PartitionAudit(3, [failure])}, 10, "run")
    assert passed() == [(False, 3)]


def test_readers_see_the_old_or_the_new_version_and_never_a_mix(
    warehouse: psycopg.Connection[dict[str, object]], urls: tuple[str, str, str]
) -> None:
    versions = {tuple([value] * 300) for value in (1, 2)}
    put(warehouse, rows(*[1] * 300), 1, 1)
    seen: set[tuple[object, ...]] = set()
    stop = threading.Event()

    def read() -> None:
        with connect(urls[2]) as reader:
            reader.execute("SET ROLE boxoffice_admin_reader")  # without a scope it sees no row
            while not stop.is_set():
                seen.add(tuple(visible(reader)))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for version in range(2, 60):
        put(warehouse, rows(*[1 + version % 2] * 300), version, version)
    stop.set()
    for thread in threads:
        thread.join()
    assert seen <= versions
    assert seen


KILLED = """
import sys, os, signal
sys.path[:0] = [sys.argv[1]]
from tests.test_publish import rows, provenance, KEY
from warehouse import publish as module
from metrics.datasets import DAILY_PAYMENTS
module._point_to = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with module.connect(sys.argv[2]) as connection:
    module.publish(connection, DAILY_PAYMENTS, KEY, rows(7, 8, 9), provenance(2, 2))
"""


def test_a_publisher_killed_before_its_commit_leaves_the_old_version(
    warehouse: psycopg.Connection[dict[str, object]], urls: tuple[str, str, str]
) -> None:
    put(warehouse, rows(1), 1, 1)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    killed = subprocess.run([sys.executable, "-c", KILLED, root, urls[1]], cwd=root)
    assert killed.returncode == -signal.SIGKILL
    assert visible(warehouse) == [1]
    # The lock went with the process: the retry is not held up.
    assert put(warehouse, rows(7, 8, 9), 2, 3).outcome is Outcome.PUBLISHED
    assert visible(warehouse) == [7, 8, 9]


def test_two_publishers_of_one_partition_take_turns(
    warehouse: psycopg.Connection[dict[str, object]], urls: tuple[str, str, str]
) -> None:
    outcomes: list[tuple[int, Outcome]] = []

    def run(version: int) -> None:
        with connect(urls[1]) as connection:
            outcomes.append((version, put(connection, rows(version), version, version).outcome))

    threads = [threading.Thread(target=run, args=(version,)) for version in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8
    assert (8, Outcome.PUBLISHED) in outcomes
    assert visible(warehouse) == [8]


def test_an_extraction_that_committed_to_the_lake_earlier_tells_nothing_newer(
    warehouse: psycopg.Connection[dict[str, object]],
) -> None:
    early, late = datetime(2026, 3, 2, 12, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)
    record_extraction(warehouse, [("tickets", DAY, early, 5, 1, 0, "run")])
    record_extraction(warehouse, [("tickets", DAY, late, 4, 1, 0, "run")])
    told = warehouse.execute("SELECT source_snapshot_at FROM ops.extractions").fetchall()
    assert told == [{"source_snapshot_at": early}]


def test_attempts_are_ordered(warehouse: psycopg.Connection[dict[str, object]]) -> None:
    assert next_attempt(warehouse) < next_attempt(warehouse)


def test_the_migrations_build_exactly_the_declared_tables(urls: tuple[str, str, str]) -> None:
    upgrade(urls[0])
    check(urls[0])


def test_every_table_and_column_has_a_comment(urls: tuple[str, str, str]) -> None:
    with psycopg.connect(urls[0]) as connection:
        bare = connection.execute(
            """SELECT c.relname, a.attname
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT a.attisdropped
            WHERE n.nspname IN ('reporting', 'ops') AND c.relkind = 'r'
              AND c.relname <> 'alembic_version'
              AND col_description(c.oid, a.attnum) IS NULL
            UNION ALL
            SELECT c.relname, NULL
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('reporting', 'ops') AND c.relkind = 'r'
              AND c.relname <> 'alembic_version' AND obj_description(c.oid) IS NULL"""
        ).fetchall()
    assert bare == []


def test_roles_may_do_no_more_than_their_part(urls: tuple[str, str, str]) -> None:
    _, publisher, reader = urls
    refused = {
        publisher: [
            "UPDATE reporting.daily_payments SET payments = 0",
            "DELETE FROM ops.publications",
            "UPDATE ops.publications SET row_count = 0",
            "CREATE TABLE reporting.x ()",
            "DROP TABLE reporting.daily_payments",
        ],
        reader: [
            "INSERT INTO reporting.daily_payments DEFAULT VALUES",
            "DELETE FROM reporting.daily_metrics",
            "INSERT INTO ops.publications DEFAULT VALUES",
            "SELECT nextval('ops.attempts')",
            "CREATE TABLE ops.x ()",
        ],
    }
    for url, statements in refused.items():
        for statement in statements:
            with (
                psycopg.connect(url) as connection,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                connection.execute(statement.encode())


def test_readers_queries_use_the_indexes_made_for_them(urls: tuple[str, str, str]) -> None:
    with psycopg.connect(urls[0]) as connection:
        columns = ", ".join(name for name in DAILY_METRICS.metric_names)
        zeros = ", ".join("0" for _ in DAILY_METRICS.metric_names)
        connection.execute(
            f"""INSERT INTO reporting.daily_metrics
                (business_date, organizer_id, event_id, currency, {columns})
            SELECT DATE '2025-01-01' + d, e % 100, e, 'KES', {zeros}
            FROM generate_series(0, 364) AS d, generate_series(1, 300) AS e""".encode()
        )
        connection.execute("ANALYZE reporting.daily_metrics")
        for index in DAILY_METRICS.indexes:
            plan = connection.execute(
                f"""EXPLAIN SELECT sum(gross_revenue) FROM reporting.daily_metrics
                WHERE {index.columns[0]} = 7
                  AND business_date >= '2025-01-02'""".encode()
            ).fetchall()
            name = f"daily_metrics_{'_'.join(index.columns)}_idx"
            assert name in "\n".join(row[0] for row in plan), index.serves
        connection.rollback()


def test_a_deployment_keeps_publisher_and_owner_apart(
    make_deployment: Callable[..., Deployment],
) -> None:
    deployment = make_deployment()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        deployment.rows("CREATE TABLE reporting.x ()")
