"""Period states: arithmetic of lateness and age, and how days, weeks and months become final."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.calendar import DayRange
from warehouse.freshness import read_freshness
from warehouse.migrate import upgrade
from warehouse.periods import (
    BEYOND,
    LATENESS_EDGES,
    Lateness,
    State,
    age_of_finality,
    bucket_name,
    declare_final,
    quantile_edge,
    replace_lateness,
)
from warehouse.publish import connect

TIME_ZONE = "Africa/Nairobi"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _edge(lateness: int) -> int:
    return next((edge for edge in LATENESS_EDGES if lateness <= edge), BEYOND)


@given(
    st.lists(st.integers(min_value=-100, max_value=200 * 86_400), min_size=1),
    st.integers(min_value=1, max_value=1000),
)
def test_the_edge_is_the_bucket_in_which_the_exact_quantile_lies(
    lateness: list[int], per_mille: int
) -> None:
    histogram: dict[int, int] = {}
    for seconds in lateness:
        histogram[_edge(seconds)] = histogram.get(_edge(seconds), 0) + 1
    rank = math.ceil(len(lateness) * per_mille / 1000)
    exact = sorted(lateness)[rank - 1]
    edge = quantile_edge(histogram, per_mille)
    assert edge == _edge(exact)
    assert edge >= exact


def test_without_movements_nothing_is_measured() -> None:
    assert quantile_edge({}, 995) is None
    assert quantile_edge({60: 0}, 995) is None


@given(
    st.none() | st.sampled_from([*LATENESS_EDGES, BEYOND]),
    st.integers(min_value=1, max_value=400).map(lambda days: timedelta(days=days)),
)
def test_a_day_is_final_by_the_smaller_age_but_never_within_an_hour(
    lateness: int | None, configured: timedelta
) -> None:
    age = age_of_finality(lateness, configured)
    assert HOUR <= age <= configured
    if lateness is not None and lateness >= 3600:
        assert age == min(timedelta(seconds=lateness), configured)


def test_buckets_are_named_by_their_upper_edge() -> None:
    names = [bucket_name(edge) for edge in (*LATENESS_EDGES, BEYOND)]
    assert names[:5] == ["1 min", "10 min", "1 h", "6 h", "1 d"]
    assert names[-2:] == ["180 d", "beyond"]


class Published:
    """Published days made by hand: what states and freshness go by is rows of ``ops``."""

    def __init__(self, owner: str, publisher: str) -> None:
        self.owner, self.url = owner, publisher

    def day(self, day: date, *, complete: bool = True, dataset: str = "daily_metrics") -> None:
        """Publish a partition anew."""
        watermark = datetime.combine(day, datetime.min.time(), UTC) + 2 * DAY
        with connect(self.owner) as connection:
            connection.execute(
                """WITH made AS (
                    INSERT INTO ops.publications (dataset, partition_key, data_version,
                        input_version, attempt, lake_snapshot, source_watermark, is_complete,
                        run_id, code_version, row_count, control_sums)
                    VALUES (%(dataset)s, %(key)s, 'v', 1, 1, 1, %(watermark)s, %(complete)s, 'r',
                        'c', 0, '{}') RETURNING *)
                INSERT INTO ops.partitions (dataset, partition_key, publication_id, data_version,
                    input_version, attempt, lake_snapshot, source_watermark, is_complete, run_id,
                    code_version)
                SELECT dataset, partition_key, publication_id, data_version, input_version,
                       attempt, lake_snapshot, source_watermark, is_complete, run_id, code_version
                FROM made
                ON CONFLICT (dataset, partition_key) DO UPDATE
                SET publication_id = excluded.publication_id, is_complete = excluded.is_complete""",
                {
                    "dataset": dataset,
                    "key": day.isoformat(),
                    "watermark": watermark,
                    "complete": complete,
                },
            )

    def execute(self, statement: str, *parameters: object) -> None:
        with connect(self.owner) as connection:
            connection.execute(statement.encode(), parameters)

    def declare(self, now: datetime, final_after_days: int = 45) -> dict[str, int]:
        with connect(self.url) as connection:
            return declare_final(connection, TIME_ZONE, final_after_days, now).made_final

    def final(self, dataset: str = "daily_metrics") -> set[str]:
        return {
            row["partition_key"]
            for row in self.rows(
                "SELECT partition_key FROM ops.partitions"
                " WHERE dataset = %s AND final_at IS NOT NULL",
                dataset,
            )
        }

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        with connect(self.url) as connection:
            return connection.execute(query.encode(), parameters).fetchall()


@pytest.fixture
def published(fresh_database: Callable[..., str], role_url: Callable[[str, str], str]) -> Published:
    owner = fresh_database("boxoffice_owner", connects=["boxoffice_publisher"])
    upgrade(owner)
    return Published(owner, role_url(owner, "boxoffice_publisher"))


def test_days_become_final_when_late_rows_have_arrived_and_weeks_follow(
    published: Published,
) -> None:
    monday = date(2026, 3, 2)
    days = [monday + n * DAY for n in range(8)]
    for day in days:
        published.day(day)
    published.day(monday, dataset="weekly_revenue")
    # 199 of 200 movements within two days, one within 30 days: p99.5 is two days.
    with connect(published.url) as connection:
        measured = DayRange(TIME_ZONE, monday, monday)
        replace_lateness(
            connection,
            measured,
            [
                Lateness(monday, "refund", 2 * 86_400, 199),
                Lateness(monday, "refund", 30 * 86_400, 1),
            ],
        )
    # Sunday ends at 21:00 UTC on 8 March: not two days old a second before 21:00 on 10 March.
    sunday_final = datetime(2026, 3, 10, 21, tzinfo=UTC)
    published.declare(sunday_final - timedelta(seconds=1))
    assert published.final() == {day.isoformat() for day in days[:6]}
    assert published.final("weekly_revenue") == set()
    made = published.declare(sunday_final)
    assert (made["daily_metrics"], made["weekly_revenue"]) == (1, 1)
    assert published.final("weekly_revenue") == {"2026-03-02"}
    # It stays final, whatever is measured afterwards, and when it is published anew.
    since = "SELECT partition_key, final_at FROM ops.partitions ORDER BY dataset, partition_key"
    first_final = published.rows(since)
    with connect(published.url) as connection:
        replace_lateness(connection, measured, [Lateness(monday, "refund", BEYOND, 10**6)])
    published.day(monday)
    published.declare(sunday_final + DAY)
    assert published.rows(since) == first_final
    with connect(published.url) as connection:
        counts = declare_final(connection, TIME_ZONE, 45, sunday_final).counts
    assert counts["daily_metrics"] == {State.OPEN: 0, State.PROVISIONAL: 1, State.FINAL: 7}


def test_open_held_back_and_changed_days_are_not_final_and_others_are_by_age(
    published: Published,
) -> None:
    opened, held, late, fine = (date(2026, 1, n) for n in range(1, 5))
    for day in (opened, held, late, fine):
        published.day(day, complete=day != opened)
    published.execute(
        "INSERT INTO ops.audits (dataset, partition_key, passed, failures, cells_compared,"
        " lake_snapshot, run_id) VALUES ('daily_metrics', %s, false, %s, 1, 1, 'r')",
        held.isoformat(),
        '[{"check": "reconciled"}]',
    )
    published.execute(
        "INSERT INTO ops.late_days (business_date, fact, found_at, found_by, found)"
        " VALUES (%s, 'refunds', '2026-02-01Z', 'change', '{}')",
        late,
    )
    # Nothing was measured, so the configured age decides: 45 days after the end of 4 January.
    published.declare(datetime(2026, 2, 18, 20, 59, tzinfo=UTC))
    assert published.final() == set()
    published.declare(datetime(2026, 2, 18, 21, 0, tzinfo=UTC))
    assert published.final() == {fine.isoformat()}
    published.execute("UPDATE ops.late_days SET resolved_at = now()")
    published.execute("UPDATE ops.audits SET passed = true, failures = '[]'")
    published.declare(datetime(2026, 2, 18, 21, 0, tzinfo=UTC))
    assert published.final() == {day.isoformat() for day in (held, late, fine)}


def test_complete_through_stops_at_a_gap_and_at_the_first_incomplete_day(
    published: Published,
) -> None:
    days = [date(2026, 1, 1) + n * DAY for n in range(10)]
    for day in days:
        if day != days[6]:
            published.day(day, complete=day != days[8])
    published.day(date(2025, 12, 29), complete=False, dataset="weekly_revenue")
    published.day(date(2026, 1, 5), dataset="weekly_revenue")

    def fresh() -> dict[str, tuple[date | None, tuple[str, ...]]]:
        with connect(published.url) as connection:
            found = read_freshness(connection, TIME_ZONE).datasets
        return {d.dataset: (d.complete_through, d.gaps) for d in found}

    # The week that began before the first reporting day is never complete, and does not count.
    assert fresh() == {
        "daily_metrics": (days[5], ("2026-01-07",)),
        "weekly_revenue": (date(2026, 1, 11), ()),
    }
    published.day(days[6])
    assert fresh()["daily_metrics"] == (days[7], ())
    published.day(days[8])
    assert fresh()["daily_metrics"] == (days[9], ())
    published.day(days[0], complete=False)
    assert fresh()["daily_metrics"] == (None, ())


def test_a_fact_is_ingested_until_its_oldest_changed_day_was_last_read(
    published: Published,
) -> None:
    read_at = {date(2026, 1, 1): "2026-01-02 06:00Z", date(2026, 1, 2): "2026-01-02 12:00Z"}
    for day, instant in read_at.items():
        published.execute(
            "INSERT INTO ops.extractions (fact, business_date, source_snapshot_at, lake_snapshot,"
            " row_count, run_id) VALUES ('refunds', %s, %s, 1, 1, 'r')",
            day,
            instant,
        )

    def until() -> tuple[datetime, int, int]:
        with connect(published.url) as connection:
            fresh = read_freshness(connection, TIME_ZONE)
        return (
            fresh.facts[0].ingested_until,
            fresh.facts[0].late_days_waiting,
            len(fresh.waiting),
        )

    assert until() == (datetime(2026, 1, 2, 12, tzinfo=UTC), 0, 0)
    published.execute(
        "INSERT INTO ops.late_days (business_date, fact, found_at, found_by, found)"
        " VALUES ('2026-01-01', 'refunds', '2026-01-05Z', 'change', '{}')"
    )
    assert until() == (datetime(2026, 1, 2, 6, tzinfo=UTC), 1, 1)
    published.execute(
        "UPDATE ops.extractions SET source_snapshot_at = '2026-01-06Z'"
        " WHERE business_date = '2026-01-01'"
    )
    # Read again, and waiting until it is published from that reading.
    assert until() == (datetime(2026, 1, 2, 12, tzinfo=UTC), 0, 1)
    published.execute("UPDATE ops.late_days SET resolved_at = '2026-01-06Z'")
    assert until() == (datetime(2026, 1, 2, 12, tzinfo=UTC), 0, 0)
    # Read a week later, the second day still holds nothing from after its end, 21:00 UTC.
    published.execute("UPDATE ops.extractions SET source_snapshot_at = '2026-01-09Z'")
    assert until() == (datetime(2026, 1, 2, 21, tzinfo=UTC), 0, 0)
