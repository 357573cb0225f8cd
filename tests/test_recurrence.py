"""Recurring exports come due when their owner's clock says so, also where it is put back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exports.filters import RequestError
from exports.recurrence import Recurrence
from exports.relative_days import RELATIVE_DAYS, resolve

NAIROBI = "Africa/Nairobi"
BERLIN = "Europe/Berlin"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
CHANGES = {
    BERLIN: [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)],
    "America/New_York": [datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)],
    # By half an hour only, and at midnight.
    "Australia/Lord_Howe": [
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    ],
    "Asia/Beirut": [datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 10, 24, 21, tzinfo=UTC)],
    NAIROBI: [datetime(2026, 2, 28, 21, tzinfo=UTC)],
}


def rule(parts: str, start: str = "20260105T080000") -> str:
    return f"DTSTART:{start}\nRRULE:{parts}"


def local(zone: str, *parts: int) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(zone)).astimezone(UTC)  # type: ignore[misc,arg-type]


def due(recurrence: Recurrence, after: datetime, count: int) -> list[str]:
    """The next instants, by the clock on the wall."""
    zone = ZoneInfo(recurrence.time_zone)
    found = islice(recurrence.occurrences(after), count)
    return [f"{instant.astimezone(zone):%m-%d %H:%M%z}" for instant in found]


def naive_due(
    zone: ZoneInfo, matches: Callable[[datetime], bool], after: datetime, until: datetime
) -> list[datetime]:
    """Every minute of UTC is looked at, and what the clock on the wall shows in it."""
    instant = after - DAY
    seen: set[datetime] = set()
    found = []
    expected = instant.astimezone(zone).replace(tzinfo=None)
    while instant <= until:
        shown = instant.astimezone(zone).replace(tzinfo=None)
        walls = {shown}
        while expected < shown:  # skipped minutes are due now
            walls.add(expected)
            expected += MINUTE
        expected = max(expected, shown + MINUTE)
        new = walls - seen
        seen |= walls
        if instant > after and any(matches(wall) for wall in new):
            found.append(instant)
        instant += MINUTE
    return found


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = draw(st.sampled_from(CHANGES[zone]))
    return zone, change + draw(st.integers(-30 * 60, 180)) * MINUTE


some_hours = st.sets(st.integers(0, 4) | st.integers(0, 23), min_size=1, max_size=6)
some_minutes = st.sets(st.integers(0, 59), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(moments(), some_hours, some_minutes, st.none() | st.sets(st.integers(0, 6), min_size=1))
def test_cron_comes_due_as_a_look_at_every_minute_says(
    moment: tuple[str, datetime], hours: set[int], minutes: set[int], days: set[int] | None
) -> None:
    name, after = moment
    weekdays = "*" if days is None else ",".join(str(day) for day in days)  # 0 is Sunday
    fields = [",".join(map(str, minutes)), ",".join(map(str, hours)), "*", "*", weekdays]
    recurrence = Recurrence("cron", " ".join(fields), name)

    def matches(wall: datetime) -> bool:
        on_day = days is None or wall.isoweekday() % 7 in days
        return on_day and wall.hour in hours and wall.minute in minutes

    until = after + 2 * DAY
    found = []
    for instant in recurrence.occurrences(after):
        if instant > until:
            break
        found.append(instant)
    assert found == naive_due(ZoneInfo(name), matches, after, until)
    assert found[:1] in ([], [recurrence.next_after(after)])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(moments(), st.integers(1, 5), some_hours, st.booleans())
def test_a_rule_comes_due_as_a_look_at_every_minute_says(
    moment: tuple[str, datetime], interval: int, hours: set[int], is_hourly: bool
) -> None:
    name, after = moment
    start = datetime(2026, 2, 11, 1, 30)
    hourly, daily = f"HOURLY;INTERVAL={interval}", f"DAILY;INTERVAL={interval};BYHOUR="
    parts = hourly if is_hourly else daily + ",".join(map(str, hours))
    recurrence = Recurrence("rrule", rule(f"FREQ={parts}", "20260211T013000"), name)

    def matches(wall: datetime) -> bool:
        if wall < start or wall.minute != 30:
            return False
        if is_hourly:
            return (wall - start) % timedelta(hours=interval) == timedelta()
        return (wall.date() - start.date()).days % interval == 0 and wall.hour in hours

    until = after + 2 * DAY
    found = []
    for instant in recurrence.occurrences(after):
        if instant > until:
            break
        found.append(instant)
    assert found == naive_due(ZoneInfo(name), matches, after, until)


def test_a_skipped_time_is_due_after_the_gap_and_a_repeated_one_once() -> None:
    recurrence = Recurrence("cron", "30 2 * * *", BERLIN)
    spring = due(recurrence, local(BERLIN, 2026, 3, 28), 3)
    assert spring == ["03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"]
    autumn = due(recurrence, local(BERLIN, 2026, 10, 24, 3), 2)
    assert autumn == ["10-25 02:30+0200", "10-26 02:30+0100"]
    # What was skipped and what is due after it are one.
    often = Recurrence("cron", "*/30 * * * *", BERLIN)
    assert due(often, local(BERLIN, 2026, 3, 29, 1, 30), 2) == [
        "03-29 03:00+0200",
        "03-29 03:30+0200",
    ]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("FREQ=WEEKLY;BYDAY=MO", ["03-02", "03-09", "03-16"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", ["03-31", "04-30", "05-31"]),
        ("FREQ=MONTHLY;BYDAY=1MO,-1FR", ["03-02", "03-27", "04-06"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1", ["03-02", "04-01", "05-01"]),
        ("FREQ=DAILY;COUNT=57", ["03-01", "03-02"]),
        ("FREQ=DAILY;UNTIL=20260303T050000Z", ["03-01", "03-02", "03-03"]),
        ("FREQ=DAILY;UNTIL=20260303T045959Z", ["03-01", "03-02"]),
        ("FREQ=DAILY;UNTIL=20260303T080000", ["03-01", "03-02", "03-03"]),
        ("FREQ=DAILY;COUNT=3", []),
    ],
)
def test_rules_mean_what_rfc_5545_says_and_end(parts: str, expected: list[str]) -> None:
    recurrence = Recurrence("rrule", rule(parts), NAIROBI)
    found = due(recurrence, local(NAIROBI, 2026, 2, 28, 8), 3)
    assert found == [f"{day} 08:00+0300" for day in expected]


def test_a_rule_that_ended_is_never_due_and_not_accepted() -> None:
    ended = Recurrence("rrule", rule("FREQ=DAILY;COUNT=3"), NAIROBI)
    assert ended.next_after(local(NAIROBI, 2026, 1, 6, 8)) == local(NAIROBI, 2026, 1, 7, 8)
    assert ended.next_after(local(NAIROBI, 2026, 1, 7, 8)) is None
    with pytest.raises(RequestError, match="is never due after 2026-03-01 00:00"):
        ended.check(local(NAIROBI, 2026, 3, 1))


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        ("cron", "0 0 30 2 *"),
        ("rrule", rule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30")),
        ("rrule", rule("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30")),
        ("rrule", rule("FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30")),
        ("rrule", rule("FREQ=DAILY;BYSETPOS=5")),
    ],
)
def test_what_never_matches_is_refused_soon(kind: str, expression: str) -> None:
    begun = time.process_time()
    with pytest.raises(RequestError, match="never due: no day of the calendar"):
        Recurrence(kind, expression, NAIROBI)
    assert time.process_time() - begun < 5


def test_29_february_is_found() -> None:
    for kind, expression in [
        ("cron", "0 8 29 2 *"),
        ("rrule", rule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29")),
    ]:
        recurrence = Recurrence(kind, expression, NAIROBI)
        after = local(NAIROBI, 2096, 3, 1)
        assert recurrence.next_after(after) == local(NAIROBI, 2104, 2, 29, 8)
        recurrence.check(local(NAIROBI, 2026, 3, 1))


@pytest.mark.parametrize(
    ("kind", "expression", "time_zone", "message"),
    [
        ("daily", "8:00", NAIROBI, "'daily' is not a kind of recurrence; there are cron, rrule"),
        ("cron", "0 8 * *", NAIROBI, "write minute, hour, day of month, month and day of week"),
        ("cron", "0 0 8 * * *", NAIROBI, "write minute, hour"),
        ("cron", "@daily", NAIROBI, "write minute, hour"),
        ("cron", "R 8 * * *", NAIROBI, "write minute, hour"),
        ("cron", "H 8 * * *", NAIROBI, "write minute, hour"),
        ("cron", "61 8 * * *", NAIROBI, "out of range"),
        ("cron", "*/0 8 * * *", NAIROBI, "step '0'"),
        ("cron", "0 8 * * xyz", NAIROBI, "is not a cron expression"),
        ("cron", "0 " * 300, NAIROBI, "longer than 500"),
        ("cron", "0 8 * * *", "Nairobi", "'Nairobi' is not a time zone; write an IANA name"),
        ("cron", "0 8 * * *", "localtime", "is not a time zone"),
        ("cron", "0 8 * * *", "../etc/passwd", "is not a time zone"),
        ("cron", "0 8 * * *", "Africa", "is not a time zone"),
        ("cron", "0 8 * * *", "Africa/Nowhere", "is not a time zone"),
        ("rrule", "RRULE:FREQ=DAILY", NAIROBI, "write one DTSTART and one RRULE"),
        ("rrule", rule("FREQ=DAILY") + "\nEXDATE:20260106T080000", NAIROBI, "and nothing else"),
        ("rrule", rule("FREQ=DAILY", "20260105T080000Z"), NAIROBI, "write the local time"),
        ("rrule", rule("FREQ=DAILY", "20260105"), NAIROBI, "write the local time"),
        ("rrule", rule("FREQ=DAILY", "20260230T080000"), NAIROBI, "not a time of the calendar"),
        ("rrule", rule("FREQ=DAILY", "19991231T080000"), NAIROBI, "in the years 2000 to 2099"),
        ("rrule", rule("FREQ=DAILY", "20260105T080030"), NAIROBI, "whole minute"),
        ("rrule", rule("FREQ=MINUTELY;INTERVAL=30"), NAIROBI, "FREQ, one of HOURLY"),
        ("rrule", rule("FREQ=DAILY;INTERVAL=0"), NAIROBI, "'0' is not a number from 1"),
        ("rrule", rule("FREQ=DAILY;INTERVAL=2,3"), NAIROBI, "write one number"),
        ("rrule", rule("FREQ=DAILY;BYHOUR=24"), NAIROBI, "BYHOUR=24: '24' is not a number"),
        ("rrule", rule("FREQ=MONTHLY;BYMONTHDAY=0"), NAIROBI, "from -31 to 31 without 0"),
        ("rrule", rule("FREQ=WEEKLY;BYDAY=1MO"), NAIROBI, "MONTHLY and YEARLY only"),
        ("rrule", rule("FREQ=WEEKLY;BYDAY=XX"), NAIROBI, "BYDAY=XX: write MO"),
        ("rrule", rule("FREQ=DAILY;BYEASTER=0"), NAIROBI, "BYEASTER is not a part"),
        ("rrule", rule("FREQ=DAILY;BYSECOND=5"), NAIROBI, "BYSECOND is not a part"),
        ("rrule", rule("FREQ=DAILY;UNTIL=20261231"), NAIROBI, "write an instant in UTC"),
        ("rrule", rule("FREQ=DAILY;COUNT=2;UNTIL=20261231T000000Z"), NAIROBI, "not both"),
        ("rrule", rule("FREQ=DAILY;FREQ=WEEKLY"), NAIROBI, "more than once"),
        ("rrule", rule("FREQ=YEARLY;BYDAY=53MO;BYMONTH=2"), NAIROBI, "may exclude each other"),
        ("rrule", rule("FREQ=HOURLY;INTERVAL=24;BYHOUR=5"), NAIROBI, "may exclude each other"),
        (
            "rrule",
            rule("FREQ=DAILY").replace("DTSTART", "DTSTART;TZID=Europe/Berlin"),
            NAIROBI,
            "TZID of DTSTART is Europe/Berlin, time_zone is Africa/Nairobi",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_what_would_be_right(
    kind: str, expression: str, time_zone: str, message: str
) -> None:
    with pytest.raises(RequestError) as raised:
        Recurrence(kind, expression, time_zone)
    assert message in str(raised.value)
    assert all(problem.field.startswith("recurrence.") for problem in raised.value.problems)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(RequestError) as raised:
        Recurrence("rrule", rule("FREQ=DAILY;BYHOUR=24;FOO=1"), "Nowhere")
    assert [problem.field for problem in raised.value.problems] == [
        "recurrence.time_zone",
        "recurrence.expression",
        "recurrence.expression",
    ]


@pytest.mark.parametrize(
    ("kind", "expression", "accepted"),
    [
        ("cron", "*/15 * * * *", True),
        ("cron", "*/14 * * * *", False),
        ("cron", "* * * * *", False),
        ("cron", "0,14 8 * * *", False),
        ("cron", "50 23,0 * * *", True),
        ("cron", "0,59 * * * *", False),
        ("cron", "0,5 8 1 1 *", False),
        ("rrule", rule("FREQ=HOURLY;BYMINUTE=0,15,30,45"), True),
        ("rrule", rule("FREQ=DAILY;BYHOUR=8;BYMINUTE=0,10"), False),
    ],
)
def test_at_least_fifteen_minutes_lie_between(kind: str, expression: str, accepted: bool) -> None:
    recurrence = Recurrence(kind, expression, BERLIN)
    # The night in which the clock is put forward brings two together: that is no reason.
    now = local(BERLIN, 2026, 3, 28, 23, 40)
    if accepted:
        assert recurrence.check(now) == recurrence.next_after(now)
    else:
        with pytest.raises(RequestError, match=r"too often: .* at least 15 minutes must lie"):
            recurrence.check(now)


def test_an_instant_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        Recurrence("cron", "0 8 * * *", NAIROBI).next_after(datetime(2026, 3, 1))


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("today", "2026-03-01", "2026-03-01"),
        ("yesterday", "2026-02-28", "2026-02-28"),
        ("last_7_days", "2026-02-22", "2026-02-28"),
        ("last_28_days", "2026-02-01", "2026-02-28"),
        ("last_30_days", "2026-01-30", "2026-02-28"),
        ("last_90_days", "2025-12-01", "2026-02-28"),
        ("last_365_days", "2025-03-01", "2026-02-28"),
        ("this_week", "2026-02-23", "2026-03-01"),
        ("last_week", "2026-02-16", "2026-02-22"),
        ("this_month", "2026-03-01", "2026-03-01"),
        ("last_month", "2026-02-01", "2026-02-28"),
        ("this_year", "2026-01-01", "2026-03-01"),
        ("last_year", "2025-01-01", "2025-12-31"),
        ("next_7_days", "2026-03-02", "2026-03-08"),
        ("next_30_days", "2026-03-02", "2026-03-31"),
        ("next_month", "2026-04-01", "2026-04-30"),
    ],
)
def test_relative_days_are_counted_from_the_reporting_day(name: str, first: str, last: str) -> None:
    found = resolve({"sold": {"relative": name}}, date(2026, 3, 1))  # a Sunday
    assert found == {"sold": {"first": first, "last": last}}


@given(st.sampled_from(sorted(RELATIVE_DAYS)), st.dates(date(1980, 1, 1), date(2900, 1, 1)))
def test_relative_days_are_never_reversed(name: str, today: date) -> None:
    first, last = RELATIVE_DAYS[name](today)
    assert first <= last


def test_fixed_filters_stay_and_unknown_names_are_refused_with_the_choices() -> None:
    fixed = {"sold": {"first": "2026-01-01"}, "events": [1], "search": "relative"}
    assert resolve(fixed, date(2026, 3, 1)) == fixed
    wrong = {
        "sold": {"relative": "last_fortnight"},
        "placed": {"relative": "yesterday", "first": "2026-01-01"},
        "days": {"relative": 7},
    }
    with pytest.raises(RequestError) as raised:
        resolve(wrong, date(2026, 3, 1))
    assert [problem.field for problem in raised.value.problems] == [
        "filters.sold.relative",
        "filters.placed",
        "filters.days.relative",
    ]
    assert "last_month" in str(raised.value)
