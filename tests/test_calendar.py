"""Days, weeks and months: the shared vectors, and the SQL that must agree with them."""

from __future__ import annotations

import json
from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.calendar import (
    DayRange,
    business_date,
    day_bounds,
    iso_week_label,
    month_start,
    next_month,
    parse_date,
    week_start,
)
from pipelines.partitions import build_partitions

VECTORS = json.loads((Path(__file__).parent / "vectors" / "tz_vectors.json").read_text())
ZONES = sorted({vector["tz"] for vector in VECTORS if "tz" in vector})


def _of(kind: str) -> list[Any]:
    return [pytest.param(v, id=str(i)) for i, v in enumerate(VECTORS) if v["kind"] == kind]


@pytest.mark.parametrize("vector", _of("day_bounds"))
def test_day_bounds_are_the_first_instants_of_local_dates(vector: dict[str, Any]) -> None:
    start, end = day_bounds(vector["tz"], date.fromisoformat(vector["date"]))
    assert start == datetime.fromisoformat(vector["utc_start"])
    assert end == datetime.fromisoformat(vector["utc_end"])
    assert (end - start).total_seconds() / 3600 == vector["hours"]


@pytest.mark.parametrize("vector", _of("instant"))
def test_an_instant_belongs_to_its_local_day_week_and_month(vector: dict[str, Any]) -> None:
    day = business_date(vector["tz"], datetime.fromisoformat(vector["utc"]))
    assert day.isoformat() == vector["local_date"]
    assert iso_week_label(day) == vector["iso_week"]
    assert month_start(day).isoformat()[:7] == vector["month"]


@pytest.mark.parametrize("vector", _of("iso_week"))
def test_weeks_are_iso_weeks(vector: dict[str, Any]) -> None:
    day = date.fromisoformat(vector["date"])
    assert iso_week_label(day) == vector["iso_week"]
    assert week_start(day).isoformat() == vector["monday"]


@pytest.mark.parametrize("vector", _of("year_weeks"))
def test_years_have_52_or_53_weeks(vector: dict[str, Any]) -> None:
    assert iso_week_label(date(vector["year"], 12, 28)) == f"{vector['year']}-W{vector['weeks']}"


@pytest.mark.parametrize("vector", _of("calendar"))
def test_only_dates_of_the_calendar_are_accepted(vector: dict[str, Any]) -> None:
    if vector["expect"] == "valid":
        assert parse_date(vector["date"]).isoformat() == vector["date"]
    else:
        with pytest.raises(ValueError, match=vector["date"]):
            parse_date(vector["date"])


@pytest.mark.parametrize("zone", ZONES)
def test_sql_dates_instants_around_every_midnight_as_python_does(zone: str) -> None:
    """Every day of years that hold all kinds of clock changes."""
    around = [timedelta(minutes=m) for m in (-90, -60, -30, 0, 30, 60, 90, 720)]
    for first in (date(2017, 12, 30), date(2021, 1, 1), date(2024, 1, 1)):
        days = DayRange(zone, first, first + timedelta(days=400))
        dates = days.days
        midnights = [day_bounds(zone, day)[0] for day in dates]
        instants = sorted(
            instant
            for midnight in midnights
            for delta in (*around, timedelta(microseconds=-1))
            if days.start <= (instant := midnight + delta) < days.end
        )
        sql = days.business_date_sql("i")
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            dated = connection.execute(
                f"SELECT {sql} FROM (SELECT make_timestamptz(unnest(?::BIGINT[])) AS i)",
                # As text: DuckDB looks for pandas anew at each Python value it is given.
                [str([round(i.timestamp() * 1_000_000) for i in instants])],
            ).fetchall()
        expected = [dates[bisect_right(midnights, instant) - 1] for instant in instants]
        assert [row[0] for row in dated] == expected


@settings(max_examples=200, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    instant=st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC)),
)
def test_every_instant_lies_within_its_own_day(zone: str, instant: datetime) -> None:
    day = business_date(zone, instant)
    start, end = day_bounds(zone, day)
    assert start <= instant < end
    assert day_bounds(zone, day + timedelta(days=1))[0] == end


@given(st.dates(date(1990, 1, 1), date(2090, 1, 1)))
def test_months_follow_one_another(day: date) -> None:
    assert month_start(next_month(day) - timedelta(days=1)) == month_start(day)


@pytest.mark.parametrize("zone", ["Africa/Nairobi", "Asia/Yekaterinburg", "America/New_York"])
def test_partitions_are_the_days_weeks_and_months_of_the_calendar(zone: str) -> None:
    start = date(2025, 1, 15)
    partitions = build_partitions(zone, start)
    today = business_date(zone, datetime.now(UTC))
    assert partitions.daily.get_partition_keys()[0] == "2025-01-15"
    assert partitions.daily.get_partition_keys()[-1] == today.isoformat()
    assert partitions.weekly.get_partition_keys()[0] == "2025-01-13"
    assert partitions.weekly.get_partition_keys()[-1] == week_start(today).isoformat()
    assert partitions.monthly.get_partition_keys()[0] == "2025-01-01"
    assert partitions.monthly.get_partition_keys()[-1] == month_start(today).isoformat()
    for key in partitions.daily.get_partition_keys():
        window = partitions.daily.time_window_for_partition_key(key)
        assert (window.start, window.end) == day_bounds(zone, date.fromisoformat(key))
