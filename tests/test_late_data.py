"""Late data: past days that changed at the source are found, requested and published anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG
from hypothesis import given
from hypothesis import strategies as st

from metrics.calendar import business_date, day_start
from pipelines.definitions import build_resources
from pipelines.jobs import FINGERPRINT_DAYS, REFRESH_DAYS
from resources.late_data import (
    CursorError,
    advance,
    changed_rows_sql,
    format_cursor,
    parse_cursor,
    read_changes,
)
from resources.late_requests import Plan, RefreshRun, plan_requests
from resources.source import Source
from resources.source_contract import DAILY_FACTS
from tests.deployment import SQL, Deployment
from warehouse import late_days, publish
from warehouse.late_days import LateDay

ZONE = "Africa/Nairobi"
SCHEMA = Path(__file__).parent.parent / "local" / "ticketing"
OVERLAP = timedelta(minutes=15)
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)


class Platform:
    """A small platform whose history was read, and its late data sensor."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.url = deployment.settings.source_url.get_secret_value()
        self.today = business_date(ZONE, datetime.now(UTC))
        self.cursor: str | None = None

    def day(self, ago: int) -> date:
        return self.today - timedelta(days=ago)

    def noon(self, ago: int) -> str:
        return f"'{day_start(ZONE, self.day(ago)) + timedelta(hours=12)}'"

    def refund(self, key: int, ago: int, recorded: str = "clock_timestamp()") -> str:
        at = self.noon(ago)
        return f"""INSERT INTO refunds (refund_id, order_id, event_id, provider, instrument, status,
            currency, amount_minor, requested_at, succeeded_at, updated_at)
            VALUES ({key}, 1, 1, 'CARD', 'visa', 'succeeded', 'KES', 100, {at}, {at}, {recorded})"""

    def evaluate(self, **resources: object) -> dg.SensorExecutionData:
        """One tick that Dagster then forgets."""
        sensor = self.deployment.definitions.resolve_sensor_def("late_data")
        with dg.build_sensor_context(
            self.deployment.instance,
            cursor=self.cursor,
            repository_def=self.deployment.definitions.get_repository_def(),
            resources={**build_resources(self.deployment.settings), **resources},
        ) as context:
            return sensor.evaluate_tick(context)

    def tick(self) -> dg.SensorExecutionData:
        """One tick, of which Dagster keeps the cursor."""
        result = self.evaluate()
        self.cursor = result.cursor
        return result

    def launch(self, result: dg.SensorExecutionData) -> None:
        for request in result.run_requests or []:
            self.deployment.definitions.resolve_job_def(REFRESH_DAYS).execute_in_process(
                instance=self.deployment.instance,
                tags=dict(request.tags),
                partition_key=request.partition_key,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )

    def late(self) -> dict[tuple[str, int], dict[str, Any]]:
        """What is late and unresolved, by fact and age in days."""
        rows = self.deployment.rows("SELECT * FROM ops.late_days WHERE resolved_at IS NULL")
        return {(row["fact"], (self.today - row["business_date"]).days): row for row in rows}

    def refunds(self, ago: int) -> int:
        rows = self.deployment.rows(
            "SELECT coalesce(sum(refunds), 0)::bigint AS refunds FROM reporting.daily_metrics"
            " WHERE business_date = %s",
            [self.day(ago)],
        )
        return int(rows[0]["refunds"])


@pytest.fixture(scope="module")
def platform(make_deployment: Callable[..., Deployment]) -> Platform:
    today = business_date(ZONE, datetime.now(UTC))
    deployment = make_deployment(start_date=today - timedelta(days=20))
    platform = Platform(deployment)
    deployment.source(
        SCHEMA / "schema.sql",
        SCHEMA / "indexes.sql",
        SQL / "golden.sql",
        *(platform.refund(ago, ago, platform.noon(ago)) for ago in range(2, 16)),
        f"INSERT INTO page_views VALUES (1, '{platform.day(3)}', 'web', 9, 4, {platform.noon(3)})",
    )
    deployment.run("refresh_days", str(platform.day(20)), str(platform.day(1)))
    platform.tick()
    return platform


@pytest.fixture(autouse=True)
def forgotten(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves late is forgotten before the next one begins."""
    yield
    if "platform" in request.fixturenames:
        platform: Platform = request.getfixturevalue("platform")
        platform.tick()
        owner = platform.deployment.settings.warehouse_owner_url.get_secret_value()
        with psycopg.connect(owner) as connection:
            connection.execute("TRUNCATE ops.late_days")


@contextmanager
def uncommitted(platform: Platform, statement: str) -> Iterator[None]:
    """A transaction of the platform that wrote something and commits at the end."""
    with psycopg.connect(platform.deployment.source_owner_url) as connection:
        connection.execute(statement.encode())
        yield


def requested(result: dg.SensorExecutionData) -> set[tuple[str, str]]:
    """First and last day of each run requested."""
    ranges = set()
    for request in result.run_requests or []:
        day = request.partition_key
        ranges.add(
            (day, day)
            if day
            else (
                request.tags["dagster/asset_partition_range_start"],
                request.tags["dagster/asset_partition_range_end"],
            )
        )
    return ranges


def test_exactly_the_days_touched_are_found_requested_and_published(platform: Platform) -> None:
    platform.deployment.source(
        platform.refund(101, 3),
        "UPDATE refunds SET amount_minor = 150, updated_at = clock_timestamp() WHERE refund_id = 4",
        f"UPDATE refunds SET succeeded_at = {platform.noon(7)}, updated_at = clock_timestamp()"
        " WHERE refund_id = 6",
        "UPDATE page_views SET page_views = 10, updated_at = clock_timestamp()",
    )
    result = platform.tick()
    assert set(platform.late()) == {
        *(("refunds", ago) for ago in (3, 4, 6, 7)),
        ("page_views", 3),
    }
    assert requested(result) == {
        (str(platform.day(7)), str(platform.day(6))),
        (str(platform.day(4)), str(platform.day(3))),
    }
    by_start = {r.run_key.split("..")[0]: r for r in result.run_requests or [] if r.run_key}
    tags = by_start[str(platform.day(4))].tags
    assert tags["boxoffice/late_data"] == "page_views 1, refunds 2"
    assert tags["dagster/priority"] == "5"

    platform.launch(result)
    again = platform.tick()
    assert not again.run_requests, "the overlap requests nothing twice"
    assert not platform.late()
    assert [platform.refunds(ago) for ago in (3, 4, 6, 7)] == [200, 150, 0, 200]


def fingerprint(platform: Platform) -> dict[str, Any]:
    """Take the nightly fingerprint; return what Dagster shows of it."""
    result = platform.deployment.run(FINGERPRINT_DAYS)
    [materialization] = result.asset_materializations_for_node("source_fingerprint")
    return {name: value.value for name, value in materialization.metadata.items()}


def test_what_left_no_update_time_is_found_by_the_fingerprint(platform: Platform) -> None:
    owner = platform.deployment.settings.warehouse_owner_url.get_secret_value()
    same = fingerprint(platform)
    assert same["days_compared"] == 20
    assert same["cells_compared"] > 9 * 20
    assert same["differing_days"] == 0
    assert not platform.late()

    platform.deployment.source(
        "DELETE FROM refunds WHERE refund_id = 14",
        "UPDATE refunds SET amount_minor = 70 WHERE refund_id = 9",
        platform.refund(201, 3),
    )
    found = fingerprint(platform)
    assert found["differing_days"] == 3
    assert (
        f"| {platform.day(14)} | refunds | 1 | KES | refunds_count | 1 | 0 |"
        in (found["differences"])
    )
    assert (
        f"| {platform.day(9)} | refunds | 1 | KES | refunds | 1.00 | 0.70 |"
        in (found["differences"])
    )
    late = platform.late()
    assert set(late) == {("refunds", 14), ("refunds", 9), ("refunds", 3)}
    assert {row["found_by"] for row in late.values()} == {"fingerprint"}
    cell = {"organizer_id": 1, "currency": "KES", "measure": "refunds"}
    assert {**cell, "in_lake": 100, "at_source": 70} in late["refunds", 9]["found"]["differences"]

    result = platform.tick()
    assert requested(result) == {(str(platform.day(ago)),) * 2 for ago in (14, 9, 3)}
    with psycopg.connect(owner) as connection:  # as if the requests were forgotten
        connection.execute("UPDATE ops.late_days SET requested_at = NULL")
    platform.deployment.run(REFRESH_DAYS, str(platform.day(14)), str(platform.day(3)))
    assert [platform.refunds(ago) for ago in (14, 9)] == [0, 70]
    platform.tick()
    assert not platform.late()


def test_days_that_were_never_read_are_late(platform: Platform) -> None:
    with platform.deployment.lake.session() as session, platform.deployment.lake.commit(session):
        session.execute(
            "DELETE FROM lake.source_totals WHERE fact = 'disputes' AND business_date = $day",
            {"day": platform.day(2)},
        )
    found = fingerprint(platform)
    assert f"| {platform.day(2)} | disputes |  |  | rows | never | 0 |" in found["differences"]
    assert set(platform.late()) == {("disputes", 2)}


def test_a_row_that_commits_after_a_later_one_was_seen_is_found(platform: Platform) -> None:
    with uncommitted(platform, platform.refund(102, 5, "clock_timestamp() - interval '10 min'")):
        platform.deployment.source(platform.refund(103, 7))
        assert requested(platform.tick()) == {(str(platform.day(7)),) * 2}
    result = platform.tick()
    assert requested(result) == {(str(platform.day(5)),) * 2}


def test_a_row_counts_once_and_its_day_can_be_requested_again(platform: Platform) -> None:
    platform.deployment.source(platform.refund(104, 8))
    first = platform.tick()
    found = platform.late()["refunds", 8]
    assert not platform.tick().run_requests, "a run of it is about to be launched"
    assert platform.late()["refunds", 8] == found
    platform.launch(first)
    platform.tick()
    assert not platform.late(), "the run that began after it was found is enough"

    platform.deployment.source(platform.refund(105, 8))
    second = platform.tick()
    keys = [r.run_key for result in (first, second) for r in result.run_requests or []]
    assert len(keys) == len(set(keys)) == 2


def test_a_tick_that_was_killed_loses_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    before = platform.cursor
    platform.deployment.source(platform.refund(107, 10))
    for step in ("record_changes", "settle", "mark_requested"):
        with monkeypatch.context() as patch:
            patch.setattr(late_days, step, killed)
            with pytest.raises(KeyboardInterrupt):
                platform.evaluate()
    forgotten = platform.evaluate()
    assert requested(forgotten) == {(str(platform.day(10)),) * 2}
    assert platform.cursor == before

    assert not platform.evaluate().run_requests, "a run may be about to be launched"
    with psycopg.connect(platform.deployment.settings.warehouse_url.get_secret_value()) as c:
        c.execute("UPDATE ops.late_days SET requested_at = requested_at - interval '3 minutes'")
    result = platform.tick()
    assert requested(result) == {(str(platform.day(10)),) * 2}
    assert {r.run_key for r in result.run_requests or []}.isdisjoint(
        {r.run_key for r in forgotten.run_requests or []}
    )


def test_a_source_that_is_down_fails_the_tick(platform: Platform) -> None:
    platform.deployment.source(platform.refund(108, 11))
    nowhere = Source(url="postgresql://nobody@127.0.0.1:9/nothing", buyer_key_secret="")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        platform.evaluate(source=nowhere)
    assert not platform.late()
    assert requested(platform.tick()) == {(str(platform.day(11)),) * 2}


def test_a_day_whose_run_failed_is_named_with_its_run(platform: Platform) -> None:
    platform.deployment.source(platform.refund(109, 12))
    result = platform.tick()
    assert result.run_requests is not None
    [request] = result.run_requests
    run = platform.deployment.instance.create_run_for_job(
        platform.deployment.definitions.resolve_job_def(REFRESH_DAYS),
        tags=dict(request.tags),
        status=dg.DagsterRunStatus.FAILURE,
    )
    again = platform.tick()
    assert not again.run_requests
    assert again.skip_message is not None
    assert f"FAILING: {platform.day(12)} is still late after run {run.run_id}" in again.skip_message


def test_a_day_that_an_unfinished_run_reads_is_not_requested(platform: Platform) -> None:
    platform.deployment.source(platform.refund(110, 13), platform.refund(111, 15))
    instance = platform.deployment.instance
    run = instance.create_run_for_job(
        platform.deployment.definitions.resolve_job_def(REFRESH_DAYS),
        tags={PARTITION_NAME_TAG: str(platform.day(13))},
        status=dg.DagsterRunStatus.STARTED,
    )
    assert requested(platform.tick()) == {(str(platform.day(15)),) * 2}
    instance.report_run_canceled(run)
    assert requested(platform.tick()) == {(str(platform.day(13)),) * 2}


def test_today_and_days_that_do_not_exist_are_left_out(platform: Platform) -> None:
    platform.deployment.source(
        platform.refund(112, 0), platform.refund(113, 500), platform.refund(114, -3)
    )
    result = platform.tick()
    assert not platform.late()
    assert "or after today (refunds 2)" in (result.skip_message or "")


def test_an_older_reading_committed_later_makes_a_day_late_again(platform: Platform) -> None:
    url = platform.deployment.settings.warehouse_url.get_secret_value()
    day = platform.day(14)
    with publish.connect(url) as connection:
        read_at = platform.deployment.rows(
            "SELECT source_snapshot_at AS at FROM ops.extractions"
            " WHERE fact = 'refunds' AND business_date = %s",
            [day],
        )[0]["at"]
        late_days.record_differences(connection, {(day, "refunds"): [{}]}, read_at)
        platform.tick()
        assert not platform.late(), "it was read since"
        connection.execute(
            "UPDATE ops.extractions SET source_snapshot_at = source_snapshot_at - interval '1 h'"
            " WHERE fact = 'refunds' AND business_date = %s",
            [day],
        )
    assert requested(platform.tick()) == {(str(day),) * 2}


def test_many_rows_written_at_one_instant_are_read_in_bounded_pages(platform: Platform) -> None:
    platform.deployment.source("UPDATE refunds SET updated_at = now() WHERE refund_id < 16")
    start = datetime.now(UTC)
    cursor = parse_cursor(None, start)
    keys: list[int] = []
    pages = 0
    while True:
        changes = read_changes(platform.url, cursor, timedelta(minutes=1), limit=4)
        cursor = parse_cursor(format_cursor(changes.cursor), start)
        [refunds] = [each for each in changes.facts if each.fact.name == "refunds"]
        assert refunds.rows.height <= 4
        keys += refunds.rows["refund_id"].to_list()
        pages += 1
        if not refunds.is_bounded:
            break
        assert cursor["refunds"].since == start, "the pass is not over"
    assert pages > 3
    assert len(keys) == len(set(keys))
    assert set(range(2, 14)) <= set(keys)
    assert cursor["refunds"].since > start - timedelta(minutes=1)


def test_changes_are_read_by_the_index_on_the_update_time(platform: Platform) -> None:
    with psycopg.connect(platform.url) as connection:
        for node in ("seqscan", "bitmapscan", "sort"):  # the tables are small
            connection.execute(f"SET enable_{node} = off".encode())
        for fact in DAILY_FACTS:
            explain = f"EXPLAIN {changed_rows_sql(fact)}".encode()
            rows = connection.execute(explain, {"since": NOON, "limit": 9}).fetchall()
            plan = "\n".join(row[0] for row in rows)
            assert "_updated_at on" in plan, fact.name
            assert "Index Cond: ((updated_at >=" in plan, fact.name


def test_a_cursor_of_another_version_says_what_to_do() -> None:
    for text in ('{"version": 99, "facts": {}}', "yesterday"):
        with pytest.raises(CursorError, match="reset the cursor of the sensor late_data"):
            parse_cursor(text, NOON)


def test_a_pass_over_many_rows_ends_where_it_began() -> None:
    start, later = NOON, NOON + timedelta(minutes=1)
    [cursor, *_] = parse_cursor(None, start).values()
    page = advance(cursor, later, ("x", "7"))
    assert (page.since, page.began) == (start, later)
    end = advance(page, later + timedelta(minutes=1), None)
    assert (end.since, end.began, end.after) == (later, None, ())


def late(day: date, *, found_at: datetime = NOON, **values: Any) -> LateDay:
    return LateDay(day, "refunds", found_at, 1, **values)


def plan(days: list[LateDay], runs: list[RefreshRun], now: datetime, **values: Any) -> Plan:
    return plan_requests(days, runs, now, **{"days_per_run": 5, **values})


DAY = date(2026, 3, 1)
DATES = st.integers(0, 60).map(lambda n: DAY + timedelta(days=n))


@given(
    found=st.dictionaries(DATES, st.integers(0, 600)),
    days_per_run=st.integers(1, 10),
    places=st.integers(0, 5),
)
def test_exactly_the_late_days_are_requested_or_wait(
    found: Mapping[date, int], days_per_run: int, places: int
) -> None:
    days = [late(day, found_at=NOON - timedelta(seconds=ago)) for day, ago in found.items()]
    made = plan(days, [], NOON, days_per_run=days_per_run, ranges_at_once=places)
    asked = [
        request.first + timedelta(days=n)
        for request in made.requests
        for n in range((request.last - request.first).days + 1)
    ]
    assert len(made.requests) <= places
    assert all((r.last - r.first).days < days_per_run for r in made.requests)
    assert sorted([*asked, *made.waiting]) == sorted(found), "each once, and no other day"
    if made.waiting:
        oldest = max(found.values())
        assert not places or any(found[day] == oldest for day in asked), "found first goes first"


def test_days_of_a_run_that_failed_are_requested_again_ever_more_rarely_and_for_ever() -> None:
    waits = []
    for number in (1, 2, 3, 6, 40):
        day = late(DAY, requests=number, requested_at=NOON)
        failed = RefreshRun("r", "failed", DAY, DAY, requested_at=NOON)
        minutes = next(
            n for n in range(10_000) if plan([day], [failed], NOON + timedelta(minutes=n)).requests
        )
        waits.append(minutes)
        assert plan([day], [failed], NOON).failing == {DAY: "r"}
        assert plan([day], [failed], NOON).backing_off == [DAY]
    assert waits == [10, 20, 40, 320, 360]


def test_a_change_found_after_the_request_does_not_wait_for_the_back_off() -> None:
    day = late(DAY, found_at=NOON + timedelta(seconds=5), requests=3, requested_at=NOON)
    now = NOON + timedelta(seconds=30)
    ended = RefreshRun("r", "succeeded", DAY, DAY, requested_at=NOON)
    assert plan([day], [ended], now).requests
    assert not plan([day], [ended], now).failing
    failed = RefreshRun("r", "failed", DAY, DAY, requested_at=NOON)
    assert not plan([day], [failed], now).requests
    assert plan([day], [failed], now + timedelta(minutes=1)).requests


def test_a_run_under_way_holds_its_days_and_its_place() -> None:
    running = RefreshRun("r", "unfinished", DAY, DAY + timedelta(days=1), requested_at=NOON)
    days = [late(DAY + timedelta(days=n)) for n in (1, 3, 5)]
    made = plan(days, [running], NOON, ranges_at_once=2)
    assert made.covered == [DAY + timedelta(days=1)]
    assert [request.first for request in made.requests] == [DAY + timedelta(days=3)]
    assert made.waiting == [DAY + timedelta(days=5)]


def test_a_day_that_has_just_ended_is_left_to_its_schedule() -> None:
    made = plan([late(DAY)], [], NOON, settling=frozenset({DAY}))
    assert (made.requests, made.settling) == ([], [DAY])
