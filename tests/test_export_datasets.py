"""An export has exactly the rows that were asked for: each once, in one order, of one version."""

from __future__ import annotations

import io
import math
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.rows import dict_row

from exports import newest, request_sql
from exports.catalogue import find_catalogue, warehouse_catalogue
from exports.coverage import gaps
from exports.datasets import EXPORTS
from exports.filters import Days, RequestError
from exports.formats.registry import FORMATS
from exports.masking import POLICY, Requester, Role, Treatment, treatment
from exports.options import parse_options
from exports.reading import (
    ExportRows,
    IncompleteReadError,
    NotPublishedError,
    Sources,
    open_rows,
)
from exports.requests import Catalogue, named, validate
from exports.writing import extension, write_export
from local.ticketing.seed import seed
from metrics.calendar import DayRange
from metrics.money import exponent
from resources.extraction import extract
from resources.source_contract import DAILY_FACTS
from tests.deployment import Deployment
from tests.leaks import CONTACT, UNIQUE_CONTACTS, anywhere, of_person, said, spill
from tests.test_extraction import source_of

TIME_ZONE = "Africa/Nairobi"
FIRST, LAST = date(2026, 2, 1), date(2026, 3, 10)
EVERY_DAY = DayRange(TIME_ZONE, FIRST, LAST)
ADMIN = Requester(role=Role.ADMIN)
EVERY_KIND = {"kinds": ["admission", "add_on", "donation"]}
STATEMENTS = {dataset.statement: name for name, dataset in reversed(EXPORTS.items())}.values()
"""One dataset for each statement."""


@pytest.fixture(scope="module")
def platform(make_deployment: Callable[..., Deployment]) -> Deployment:
    """A platform whose rows have versions: some orders were cancelled after they were read."""
    deployment = make_deployment(start_date=FIRST)
    seed(
        deployment.source_owner_url,
        orders=2_000,
        until=datetime(2026, 3, 10, 12, tzinfo=UTC),
        months=1,
        seed=7,
        time_zone=TIME_ZONE,
    )
    deployment.source(UNIQUE_CONTACTS)
    extract(deployment.lake, source_of(deployment), EVERY_DAY, DAILY_FACTS, "all")
    deployment.run("refresh_days", "2026-02-27", "2026-03-02")
    deployment.source(
        """CREATE TABLE late AS SELECT order_id FROM orders
        WHERE status = 'completed' AND completed_at < '2026-03-01' ORDER BY order_id LIMIT 200;
        UPDATE orders SET status = 'cancelled', cancelled_at = '2026-03-09 10:00+00',
            channel = 'late', updated_at = '2026-03-09 10:00+00'
        WHERE order_id IN (SELECT order_id FROM late);
        UPDATE tickets SET status = 'cancelled', cancelled_at = '2026-03-09 10:00+00',
            updated_at = '2026-03-09 10:00+00'
        WHERE status = 'issued' AND order_id IN (SELECT order_id FROM late);
        CREATE TABLE moved AS SELECT o.order_id, o.event_id AS was,
            (SELECT min(other.event_id) FROM events AS other
             WHERE other.currency = o.currency AND other.organizer_id <> e.organizer_id) AS event_id
        FROM orders AS o JOIN events AS e USING (event_id)
        WHERE order_id IN (SELECT order_id FROM late ORDER BY order_id LIMIT 40);
        DELETE FROM moved WHERE event_id IS NULL;
        UPDATE orders AS o SET event_id = m.event_id FROM moved AS m WHERE m.order_id = o.order_id;
        UPDATE tickets AS t SET event_id = m.event_id FROM moved AS m WHERE m.order_id = t.order_id
        """
    )
    # Only the day of the cancellation is read again: the day of the sale keeps the older version.
    day = DayRange(TIME_ZONE, date(2026, 3, 9), date(2026, 3, 9))
    extract(deployment.lake, source_of(deployment), day, DAILY_FACTS, "again")
    deployment.run("roll_up_weeks", "2026-02-23", "2026-03-02")
    deployment.run("roll_up_months", "2026-02-01", "2026-03-01")
    deployment.run("summarize_events")
    return deployment


@pytest.fixture(scope="module")
def sources(platform: Deployment) -> Sources:
    settings = platform.settings
    return Sources(
        lake=platform.lake,
        warehouse_url=settings.warehouse_url.get_secret_value(),
        buyer_key_secret=settings.buyer_key_secret.get_secret_value(),
        time_zone=TIME_ZONE,
    )


def source_rows(platform: Deployment, query: str, values: Any = None) -> list[dict[str, Any]]:
    with psycopg.connect(platform.source_owner_url, row_factory=dict_row) as connection:
        return connection.execute(query.encode(), values).fetchall()


def catalogue(platform: Deployment) -> Catalogue:
    events = source_rows(platform, "SELECT event_id, organizer_id FROM events")
    types = source_rows(platform, "SELECT ticket_type_id, event_id FROM ticket_types")
    return Catalogue(
        events={row["event_id"]: row["organizer_id"] for row in events},
        ticket_types={row["ticket_type_id"]: row["event_id"] for row in types},
    )


def read(
    sources: Sources,
    known: Catalogue,
    dataset: str,
    filters: dict[str, Any] | None = None,
    columns: list[str] | None = None,
    requester: Requester = ADMIN,
    **options: Any,
) -> tuple[ExportRows, pl.DataFrame]:
    request = validate(dataset, filters or {}, columns, requester, known)
    with open_rows(sources, request, **options) as rows:
        batches = list(rows.batches)
        names = [column.name for column in request.columns]
        return rows, pl.concat(batches) if batches else pl.DataFrame(schema=names)


Whole = Callable[[str], tuple[ExportRows, pl.DataFrame]]


@pytest.fixture(scope="module")
def whole(platform: Deployment, sources: Sources) -> Whole:
    """Return a function that gives every row and column of a dataset, read once."""
    known = catalogue(platform)

    @cache
    def every_row(dataset: str) -> tuple[ExportRows, pl.DataFrame]:
        return read(sources, known, dataset, {}, [c.name for c in EXPORTS[dataset].columns])

    return every_row


SOURCE_TRUTH = {
    "attendees": (
        "SELECT ticket_id AS key, status, charged_minor AS amount FROM tickets WHERE NOT is_test",
        ("ticket_id", "status", "charged"),
    ),
    "orders": (
        (
            "SELECT order_id AS key, status, total_minor AS amount FROM orders"
            " WHERE NOT is_test AND completed_at IS NOT NULL"
        ),
        ("order_id", "status", "total"),
    ),
    "requests": (
        "SELECT order_id AS key, status, total_minor AS amount FROM orders WHERE NOT is_test",
        ("order_id", "outcome", "total"),
    ),
    "payments": (
        (
            "SELECT payment_id AS key, provider AS status, amount_minor AS amount FROM payments"
            " WHERE NOT is_test AND status = 'confirmed'"
        ),
        ("payment_id", "provider", "amount"),
    ),
    "refunds": (
        (
            "SELECT refund_id AS key, provider AS status, amount_minor AS amount FROM refunds"
            " WHERE NOT is_test AND status = 'succeeded'"
        ),
        ("refund_id", "provider", "amount"),
    ),
}
BEGINNING = {
    "attendees": "issued_at",
    "orders": "completed_at",
    "requests": "placed_at",
    "payments": "confirmed_at",
    "refunds": "succeeded_at",
}


@pytest.mark.parametrize("dataset", SOURCE_TRUTH)
def test_every_row_of_the_source_is_there_once_in_its_newest_version(
    platform: Deployment, sources: Sources, dataset: str
) -> None:
    query, columns = SOURCE_TRUTH[dataset]
    started = f"({BEGINNING[dataset]} AT TIME ZONE '{TIME_ZONE}')::date"
    expected = source_rows(
        platform, f"{query} AND {started} BETWEEN '{FIRST}' AND '{LAST}' ORDER BY 1"
    )
    assert len(expected) > 50
    filters = EVERY_KIND if dataset == "attendees" else {}
    rows, found = read(
        sources, catalogue(platform), dataset, filters, [*columns, "currency", "recorded_at"]
    )
    got = found.select(columns).sort(columns[0]).rows()
    assert got == [tuple(row.values()) for row in expected]
    assert rows.totals.rows == len(expected)


def test_the_ledger_is_exported_as_it_is(platform: Deployment, whole: Whole) -> None:
    rows, found = whole("movements")
    with platform.lake.session() as connection:
        expected = connection.execute(
            "SELECT count(*), CAST(sum(gross) AS BIGINT) FROM"
            " (SELECT face_value - discounts + buyer_fees + tax AS gross FROM lake.movements)"
        ).fetchone()
    gross = found.select(
        (pl.col("face_value") - pl.col("discounts") + pl.col("buyer_fees") + pl.col("tax")).sum()
    )
    assert (found.height, gross.item()) == expected
    assert rows.totals.rows == found.height == found["movement_id"].n_unique()


@pytest.mark.parametrize("dataset", EXPORTS)
def test_the_file_s_totals_are_those_counted_beforehand_and_its_order_is_total(
    platform: Deployment, sources: Sources, dataset: str
) -> None:
    definition = EXPORTS[dataset]
    names = [column.name for column in definition.columns]
    request = validate(dataset, {}, names, ADMIN, catalogue(platform))
    written = []
    # How rows are batched says nothing in the bytes; one dataset is enough to tell.
    for batch_rows in (100, 16_384) if dataset == "orders" else (16_384,):
        with open_rows(sources, request, batch_rows=batch_rows) as rows:
            target = io.BytesIO()
            batches: list[pl.DataFrame] = []

            def keep(frame: pl.DataFrame, into: list[pl.DataFrame] = batches) -> pl.DataFrame:
                into.append(frame)
                return frame

            kept = replace(rows, batches=map(keep, rows.batches))
            options = parse_options("csv", {})
            result = write_export(kept, "csv", options, target, spill, lambda _: None).result
        assert result.rows == rows.totals.rows > 0
        assert result.money == rows.totals.money
        assert result.counts == rows.totals.counts
        assert max(frame.height for frame in batches) <= 16_384
        written.append((rows.data_version, rows.as_of, target.getvalue()))
        keys = pl.concat(batches).select(definition.order)
    assert written[0] == written[-1]
    assert keys.n_unique() == keys.height
    assert keys.equals(keys.sort(definition.order))


@pytest.mark.parametrize("dataset", STATEMENTS)
def test_each_event_has_its_rows_in_a_file_of_its_own(
    platform: Deployment, sources: Sources, whole: Whole, dataset: str
) -> None:
    """Of an archive that is written without the column of the event, and checked entry by entry."""
    known = catalogue(platform)
    named = sorted(known.events)[:12]
    filters = {} if dataset == "attendees" else {"events": named}
    chosen = [c.name for c in EXPORTS[dataset].columns if c.name != "event_id"][:20]
    request = validate(dataset, filters, chosen, ADMIN, known)
    target = io.BytesIO()
    options = parse_options("csv", {"packaging": "file_per_event"}, request.dataset)
    with open_rows(sources, request, by_event=True) as rows:
        written = write_export(rows, "csv", options, target, spill, lambda _: None)
    counts = dict(whole(dataset)[1].group_by("event_id").len().iter_rows())
    if filters:
        counts = {event: counts.get(event, 0) for event in named}
        assert sum(counts.values()) > 0
        assert dataset != "refunds" or 0 in counts.values()
    assert {entry.event_id: entry.result.rows for entry in written.entries} == counts
    assert written.result.rows == sum(counts.values()) == rows.totals.rows
    with zipfile.ZipFile(target) as archive:
        for entry in written.entries:
            lines = archive.read(entry.name).decode().count("\r\n")
            assert lines == entry.result.rows + 1, entry.name


@pytest.mark.parametrize(("dataset", "key"), [("orders", "order_id"), ("attendees", "ticket_id")])
def test_a_row_that_was_moved_is_with_the_event_it_was_moved_to_only(
    platform: Deployment, sources: Sources, dataset: str, key: str
) -> None:
    """Its older version, with the event it was moved from, is still in the lake."""
    known = catalogue(platform)
    table = "orders" if dataset == "orders" else "tickets"
    moved = source_rows(
        platform,
        f"SELECT {key} AS key, was, m.event_id FROM moved AS m JOIN {table} USING (order_id)"
        f" WHERE {table}.cancelled_at = '2026-03-09 10:00+00' AND NOT is_test"
        " AND m.event_id = (SELECT max(event_id) FROM moved)",
    )
    keys, new = {row["key"] for row in moved}, moved[0]["event_id"]
    was = sorted({row["was"] for row in moved} - {new})
    filters = EVERY_KIND if dataset == "attendees" else {}
    _, there = read(sources, known, dataset, {"events": [new], **filters}, [key])
    assert keys <= set(there[key])
    own = Requester(role=Role.ORGANIZER, organizer_id=known.events[was[0]])
    for asked, requester in (({"events": was}, ADMIN), ({}, own)):
        _, left = read(sources, known, dataset, {**asked, **filters}, [key], requester)
        assert not keys & set(left[key])
        assert left.height > 0


@pytest.mark.parametrize("dataset", ["attendees", "orders"])
@pytest.mark.parametrize("of_one_event", [True, False])
def test_rows_that_are_read_in_many_parts_are_the_same_in_the_same_order(
    platform: Deployment,
    sources: Sources,
    monkeypatch: pytest.MonkeyPatch,
    dataset: str,
    of_one_event: bool,
) -> None:
    """Few rows a part here; a large event has hundreds of thousands."""
    known = catalogue(platform)
    events = [_biggest(platform)[0]] if of_one_event else sorted(known.events)[:8]
    names = [column.name for column in EXPORTS[dataset].columns]
    asked = (sources, known, dataset, {"events": events}, names)
    _, whole = read(*asked)
    statements = []
    monkeypatch.setattr(newest, "SLICE_ROWS", max(whole.height // 4, 1))
    rendered = request_sql.request_statement

    def note(name: str, *arguments: Any, **options: Any) -> str:
        statements.append(name)
        return rendered(name, *arguments, **options)

    monkeypatch.setattr(request_sql, "request_statement", note)
    _, parts = read(*asked)
    assert parts.equals(whole)
    assert whole.height > 20
    # Rows of several events that nothing is joined to are only sorted, as a whole.
    assert (len(statements) > 3) == (of_one_event or dataset == "attendees")


@pytest.mark.parametrize("by_event", [False, True])
def test_movements_read_some_days_at_a_time_are_those_read_at_once(
    platform: Deployment,
    sources: Sources,
    whole: Whole,
    monkeypatch: pytest.MonkeyPatch,
    by_event: bool,
) -> None:
    definition = EXPORTS["movements"]
    _, at_once = whole("movements")
    if by_event:
        at_once = at_once.sort(list(dict.fromkeys(("event_id", *definition.order))))
    statements = []
    monkeypatch.setattr(newest, "SLICE_ROWS", at_once.height // 2)
    rendered = request_sql.request_statement

    def note(name: str, *arguments: Any, **options: Any) -> str:
        statements.append(name)
        return rendered(name, *arguments, **options)

    monkeypatch.setattr(request_sql, "request_statement", note)
    names = [column.name for column in definition.columns]
    _, parts = read(sources, catalogue(platform), "movements", {}, names, by_event=by_event)
    assert parts.equals(at_once)
    assert statements.count("movements.sql") > 2, statements


@given(keys=st.lists(st.integers(-(2**40), 2**40), min_size=1), rows=st.integers(1, 20))
def test_ranges_hold_every_key_once_and_no_more_than_asked_for(keys: list[int], rows: int) -> None:
    def counts(first: int, last: int, width: int) -> list[tuple[int, int]]:
        parts = Counter((key - first) // width for key in keys if first <= key <= last)
        return sorted(parts.items())

    ranges = list(newest.packed(newest.cut(counts, min(keys), max(keys), rows), rows))
    held = [[key for key in sorted(keys) if first <= key <= last] for first, last in ranges]
    assert [key for part in held for key in part] == sorted(keys)
    assert all(len(part) <= rows or len(set(part)) == 1 for part in held)
    assert all(len(one) + len(other) > rows for one, other in pairwise(held))


RATIO_DATASETS = [name for name, found in EXPORTS.items() if any(c.ratio for c in found.columns)]


@pytest.mark.parametrize("dataset", RATIO_DATASETS)
def test_ratios_are_those_of_each_row_s_own_terms(whole: Whole, dataset: str) -> None:
    ratios = [column for column in EXPORTS[dataset].columns if column.ratio]
    names = [column.name for column in ratios]
    rows, found = whole(dataset)
    assert not set(rows.totals.counts) & set(names)
    for row in found.iter_rows(named=True):
        for column in ratios:
            assert column.ratio
            above, below = row[column.ratio.numerator], row[column.ratio.denominator]
            major = 10 ** exponent(row["currency"]) if column.name == "aov" else 1
            expected = None
            if below:
                exact = Fraction(above, below * major) * 10_000
                expected = Decimal(math.floor(abs(exact) + Fraction(1, 2))).scaleb(-4)
                expected = expected.copy_sign(above)
            assert row[column.name] == expected, (column.name, row)
    assert found[ratios[-1].name].drop_nulls().len() > 0
    if "aov" in names:
        assert found.filter(pl.col("aov") > 0)["currency"].n_unique() > 1


def test_days_that_are_missing_are_said_and_never_look_like_no_sales(
    platform: Deployment, sources: Sources
) -> None:
    known = catalogue(platform)
    cases = [
        ("daily_metrics", "days", ("2026-02-26", "2026-03-04"), "published"),
        ("weekly_revenue", "starting", ("2026-02-11", "2026-03-20"), "published"),
        ("monthly_revenue", "starting", ("2025-12-31", "2026-03-31"), "published"),
        ("orders", "completed", ("2026-03-09", "2026-03-20"), "loaded"),
        ("revenue", "days", ("2026-02-27", "2026-03-02"), "published"),
    ]
    missing = []
    for dataset, field, (first, last), there in cases:
        rows, _ = read(sources, known, dataset, {field: {"first": first, "last": last}})
        shown = dict(rows.description.filters)
        missing.append(shown.get(f"Not {there} yet"))
        assert rows.is_complete is (not rows.missing and "Not complete yet" not in shown)
        assert (missing[-1] is not None) == bool(rows.missing)
    assert missing == [
        "2026-02-26, 2026-03-03 to 2026-03-04",
        "2026-02-16, 2026-03-09 to 2026-03-16",
        "2026-01-01",
        "2026-03-11 to 2026-03-20",
        None,
    ]
    rows, _ = read(sources, known, "daily_metrics")
    assert dict(rows.description.filters)["Published days"] == "2026-02-27 to 2026-03-02"
    with pytest.raises(NotPublishedError, match="no day of orders from 2031-01-01 is loaded yet"):
        read(sources, known, "orders", {"completed": {"first": "2031-01-01"}})


@given(
    present=st.sets(st.integers(0, 60), min_size=1),
    asked=st.none() | st.tuples(st.integers(-5, 65), st.integers(0, 30)),
)
def test_every_day_asked_for_is_there_or_missing(
    present: set[int], asked: tuple[int, int] | None
) -> None:
    start = date(2026, 1, 1)
    there = {start + timedelta(n) for n in present}
    first, last = min(there), max(there)
    if asked is not None:
        first = start + timedelta(asked[0])
        last = first + timedelta(asked[1])
    days = None if asked is None else Days(first=first, last=last)
    found = gaps("day", days, there)
    every = [first + timedelta(n) for n in range((last - first).days + 1)]
    gone = [
        day for day in every if any(r.first <= day <= r.last for r in found if r.first and r.last)
    ]
    assert gone == [day for day in every if day not in there]
    for one, other in pairwise(found):
        assert one.last is not None
        assert other.first is not None
        assert (other.first - one.last).days > 1


@pytest.fixture(scope="module")
def contact_data(platform: Deployment) -> set[str]:
    people = source_rows(platform, f"SELECT {', '.join(CONTACT)} FROM tickets")
    parts = set().union(*map(of_person, people))
    assert len(parts) == 5 * len(people)
    return parts


def _quiet(platform: Deployment) -> tuple[int, int]:
    """An event with a few rows of every kind."""
    row = source_rows(
        platform,
        "SELECT event_id, organizer_id FROM orders JOIN events USING (event_id)"
        " WHERE event_id IN (SELECT event_id FROM refunds"
        " WHERE status = 'succeeded' AND NOT is_test"
        f" AND (succeeded_at AT TIME ZONE '{TIME_ZONE}')::date BETWEEN '{FIRST}' AND '{LAST}')"
        " GROUP BY 1, 2 ORDER BY count(*), 1 LIMIT 1",
    )[0]
    return row["event_id"], row["organizer_id"]


PERSONAL = {dataset for dataset, _ in POLICY} - {"attendees"}
ROLES = [
    (name, role)
    for name in EXPORTS
    if name != "attendees"
    for role in (Role if name in PERSONAL else [Role.ADMIN])
]
"""Of other datasets no column depends on the role."""


@pytest.mark.parametrize(("dataset", "role"), ROLES)
def test_no_file_of_a_dataset_without_contact_data_has_any(
    platform: Deployment, sources: Sources, contact_data: set[str], dataset: str, role: Role
) -> None:
    event, owner = _quiet(platform)
    requester = Requester(role=role, organizer_id=owner if role is Role.ORGANIZER else None)
    names = [
        column.name
        for column in EXPORTS[dataset].columns
        if treatment(dataset, column.name, requester) is not Treatment.ABSENT
    ]
    filters: dict[str, Any] = {"events": [event]}
    if dataset == "movements":
        filters["days"] = {"first": "2026-03-01", "last": "2026-03-02"}
    request = validate(dataset, filters, names, requester, catalogue(platform))
    with open_rows(sources, request, by_event=True) as rows:
        batches = list(rows.batches)
    # The role decides what the rows have, which is the same in every format.
    for name in FORMATS if role is Role.ADMIN else ("csv",):
        # Its entries are the bytes of the files that are written without packing.
        options, target = parse_options(name, {"packaging": "file_per_event"}), io.BytesIO()
        again = replace(rows, batches=iter(batches))
        write_export(again, name, options, target, spill, lambda _: None)
        text = said(extension(name, options), target.getvalue())
        assert str(event) in text
        assert anywhere(text, contact_data) == set(), name


@pytest.mark.parametrize(
    ("dataset", "day"),
    [
        ("daily_metrics", "days"),
        ("daily_payments", "days"),
        ("daily_ticket_types", "days"),
        ("weekly_revenue", "starting"),
        ("monthly_revenue", "starting"),
    ],
)
def test_published_tables_are_exported_as_readers_see_them(
    platform: Deployment, sources: Sources, dataset: str, day: str
) -> None:
    definition = EXPORTS[dataset]
    filters = {day: {"first": "2026-02-01", "last": "2026-02-28"}, "currencies": ["KES"]}
    joined = ("event_name", "organizer_name")
    own = [c.name for c in definition.columns if c.name not in joined and c.ratio is None]
    _, found = read(sources, catalogue(platform), dataset, filters, own)
    expected = platform.rows(
        f"SELECT {', '.join(own)} FROM reporting.{dataset} WHERE currency = 'KES'"
        f" AND {definition.order[0]} BETWEEN '2026-02-01' AND '2026-02-28'"
        f" ORDER BY {', '.join(definition.order)}"
    )
    assert len(expected) > 0
    assert found.rows() == [tuple(row.values()) for row in expected]


def test_revenue_sums_the_days_asked_for(platform: Deployment, sources: Sources) -> None:
    filters = {"days": {"first": "2026-02-20", "last": "2026-03-05"}}
    columns = ["event_id", "currency", "gross_revenue", "organizer_net", "orders"]
    _, found = read(sources, catalogue(platform), "revenue", filters, columns)
    expected = platform.rows(
        "SELECT event_id, currency, sum(gross_revenue)::bigint, sum(organizer_net)::bigint,"
        " sum(orders)::bigint AS n FROM reporting.daily_metrics"
        " WHERE business_date BETWEEN '2026-02-20' AND '2026-03-05' GROUP BY organizer_id, 1, 2"
        " ORDER BY organizer_id, 1, 2"
    )
    assert [row[:2] for row in found.rows()] == [(r["event_id"], r["currency"]) for r in expected]
    assert found["orders"].to_list() == [row["n"] for row in expected]
    rows, summary = read(sources, catalogue(platform), "event_summary")
    assert rows.totals.rows == summary.height
    assert summary["gross_revenue"].sum() >= found["gross_revenue"].sum() > 0


def _biggest(platform: Deployment) -> tuple[int, int]:
    row = source_rows(
        platform,
        "SELECT event_id, organizer_id FROM tickets JOIN events USING (event_id)"
        " WHERE NOT is_test GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1",
    )[0]
    return row["event_id"], row["organizer_id"]


ATTENDEE_FILTERS = [
    ({"status": ["cancelled"]}, "t.status = 'cancelled'"),
    ({"checked_in": True}, "c.ticket_id IS NOT NULL"),
    ({"checked_in": False}, "c.ticket_id IS NULL"),
    ({"kinds": ["add_on", "donation"]}, "y.kind IN ('add_on', 'donation')"),
    (
        {"sold": {"first": "2026-02-20", "last": "2026-02-28"}},
        f"(t.issued_at AT TIME ZONE '{TIME_ZONE}')::date BETWEEN '2026-02-20' AND '2026-02-28'",
    ),
    ({"sold": {"first": "2026-03-01"}}, f"t.issued_at AT TIME ZONE '{TIME_ZONE}' >= '2026-03-01'"),
    ({"search": "REGULAR"}, "y.name ILIKE '%regular%'"),
    ({"search": "%"}, "strpos(y.name, '%') > 0"),
]


@pytest.mark.parametrize(("filters", "condition"), ATTENDEE_FILTERS)
def test_attendees_are_filtered_as_plain_sql_does(
    platform: Deployment, sources: Sources, filters: dict[str, Any], condition: str
) -> None:
    event, _ = _biggest(platform)
    kinds = "" if "kinds" in filters else " AND y.kind = 'admission'"
    expected = source_rows(
        platform,
        "SELECT t.ticket_id FROM tickets t JOIN ticket_types y USING (ticket_type_id)"
        " LEFT JOIN (SELECT DISTINCT ticket_id FROM check_ins) c USING (ticket_id)"
        f" WHERE NOT t.is_test AND t.event_id = %s{kinds}"
        f" AND (t.issued_at AT TIME ZONE '{TIME_ZONE}')::date BETWEEN '{FIRST}' AND '{LAST}'"
        f" AND ({condition.replace('%', '%%')}) ORDER BY 1",
        (event,),
    )
    rows, found = read(
        sources, catalogue(platform), "attendees", {"events": [event], **filters}, ["ticket_id"]
    )
    assert found["ticket_id"].to_list() == [row["ticket_id"] for row in expected]
    assert rows.totals.rows == found.height


def test_a_ticket_type_and_many_events_can_be_asked_for(
    platform: Deployment, sources: Sources
) -> None:
    known = catalogue(platform)
    ticket_type = source_rows(
        platform,
        "SELECT ticket_type_id, count(*) AS n FROM tickets WHERE NOT is_test"
        f" AND (issued_at AT TIME ZONE '{TIME_ZONE}')::date BETWEEN '{FIRST}' AND '{LAST}'"
        " GROUP BY 1 ORDER BY 2 DESC LIMIT 1",
    )[0]
    _, found = read(sources, known, "attendees", {"ticket_types": [ticket_type["ticket_type_id"]]})
    assert found.height == ticket_type["n"]
    events = sorted(known.events)[:20]
    _, several = read(sources, known, "attendees", {"events": events, **EVERY_KIND})
    assert several["event_id"].n_unique() > 1
    assert set(several["event_id"]) <= set(events)


@pytest.mark.parametrize("dataset", STATEMENTS)
def test_an_organizer_gets_own_rows_only_whatever_is_asked_for(
    platform: Deployment, sources: Sources, dataset: str
) -> None:
    _, organizer = _biggest(platform)
    own = Requester(role=Role.ORGANIZER, organizer_id=organizer)
    known = catalogue(platform)
    order = EXPORTS[dataset].order
    columns = list(dict.fromkeys(("event_id", "organizer_id", *order)))
    rows, found = read(sources, known, dataset, {}, columns, own)
    assert set(found["organizer_id"]) == {organizer}
    assert {known.events[event] for event in found["event_id"]} == {organizer}
    assert rows.totals.rows == found.height


def test_columns_are_written_as_chosen(platform: Deployment, sources: Sources) -> None:
    chosen = ["total", "currency", "order_id"]
    rows, found = read(sources, catalogue(platform), "orders", {}, chosen)
    assert found.columns == [column.name for column in rows.description.columns] == chosen


def problems(*arguments: Any) -> dict[str, str]:
    with pytest.raises(RequestError) as caught:
        validate(*arguments)
    return {problem.field: problem.message for problem in caught.value.problems}


KNOWN = Catalogue(events={1: 10, 2: 20}, ticket_types={5: 1, 6: 2})


def test_every_problem_of_a_request_is_named_at_once() -> None:
    filters = {
        "events": [1, 2, 3],
        "ticket_types": [6],
        "sold": {"first": "2026-02-01", "last": "2026-01-31"},
        "stat": ["issued"],
        "checked_in": "yes",
    }
    own = Requester(role=Role.ORGANIZER, organizer_id=10)
    found = problems("attendees", filters, ["charged", "nonsense"], own, KNOWN)
    assert set(found) == {
        *("filters.events", "filters.ticket_types", "filters.sold", "filters.stat"),
        *("filters.checked_in", "columns"),
    }
    # Another organizer's event is not told apart from one that does not exist.
    assert found["filters.events"] == "there is no event 2, 3"
    assert found["filters.ticket_types"] == "there is no ticket type 6"
    assert found["filters.sold"] == "ends (2026-01-31) before it starts (2026-02-01)"
    assert found["filters.stat"].startswith("is not a filter of this dataset; it has checked_in,")
    with pytest.raises(RequestError, match=r"nonsense.*money needs the column currency too"):
        validate("attendees", {}, ["charged", "nonsense"], own, KNOWN)


@pytest.mark.parametrize(
    ("dataset", "filters", "field"),
    [
        ("tickets", {}, "dataset"),
        ("orders", [], "filters"),
        ("orders", {"events": []}, "filters.events"),
        ("orders", {"events": [True]}, "filters.events.0"),
        ("orders", {"events": ["1"]}, "filters.events.0"),
        ("orders", {"events": [2**63]}, "filters.events.0"),
        ("orders", {"completed": {}}, "filters.completed"),
        ("orders", {"completed": {"first": "1.2.2026"}}, "filters.completed.first"),
        ("orders", {"completed": {"first": 20260101}}, "filters.completed.first"),
        ("orders", {"completed": {"first": "0001-01-01"}}, "filters.completed"),
        ("orders", {"completed": {"from": "2026-01-01", "first": "2026-01-01"}}, None),
        ("orders", {"currencies": ["kes"]}, "filters.currencies.0"),
        ("orders", {"status": ["pending"]}, "filters.status.0"),
        ("payments", {"providers": ["mpesa"]}, "filters.providers.0"),
        ("attendees", {"search": "  "}, "filters.search"),
        ("attendees", {"events": [1], "ticket_types": [6]}, "filters.ticket_types"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    dataset: str, filters: Any, field: str | None
) -> None:
    found = problems(dataset, filters, None, ADMIN, KNOWN)
    assert list(found) == [field or "filters.completed.from"]


@pytest.mark.parametrize("columns", [[], ["order_id", "order_id"], ["total"], ["x'; DROP"]])
def test_columns_that_cannot_be_written_are_refused(columns: list[str]) -> None:
    assert "columns" in problems("orders", {}, columns, ADMIN, KNOWN)


def test_the_same_filters_in_another_form_are_the_same_request() -> None:
    one, other = (
        validate("attendees", {"events": events, **more}, None, ADMIN, KNOWN).filters.canonical()
        for events, more in (([2, 1, 1], {}), ([1, 2], {"kinds": ["admission"]}))
    )
    assert one == other == {"events": [1, 2], "kinds": ["admission"], "include_test": False}
    assert named({"events": [2, 1], "unknown": 1}) == ((1, 2), ())


def test_published_events_and_ticket_types_are_looked_up(platform: Deployment) -> None:
    known = catalogue(platform)
    event, organizer = _biggest(platform)
    ticket_type = next(key for key, owner in known.ticket_types.items() if owner == event)
    with psycopg.connect(
        platform.settings.warehouse_url.get_secret_value(), row_factory=dict_row
    ) as connection:
        found = warehouse_catalogue(connection, [event, 10**15], [ticket_type])
    assert found == Catalogue(events={event: organizer}, ticket_types={ticket_type: event})


def test_a_ticket_type_that_was_never_sold_can_be_asked_for(
    platform: Deployment, sources: Sources
) -> None:
    event, key = next(
        (row["event_id"], row["ticket_type_id"])
        for row in source_rows(
            platform,
            "SELECT event_id, ticket_type_id FROM ticket_types WHERE ticket_type_id NOT IN"
            " (SELECT ticket_type_id FROM tickets) ORDER BY 2 LIMIT 1",
        )
    )
    with psycopg.connect(
        platform.settings.warehouse_url.get_secret_value(), row_factory=dict_row
    ) as connection:
        assert not warehouse_catalogue(connection, [event], [key]).ticket_types
        known = find_catalogue(connection, platform.lake, [event], [key])
    assert known.ticket_types == {key: event}
    rows, found = read(sources, known, "attendees", {"events": [event], "ticket_types": [key]})
    assert (rows.totals.rows, found.height) == (0, 0)


def test_parameters_are_bound_whatever_they_contain(platform: Deployment, sources: Sources) -> None:
    for search in ("' OR 1=1 --", "$events"):
        _, found = read(sources, catalogue(platform), "attendees", {"search": search})
        assert found.height == 0


def test_one_version_is_read_whatever_is_committed_meanwhile(
    platform: Deployment, sources: Sources
) -> None:
    known = catalogue(platform)
    before, expected = read(sources, known, "orders")
    _, metrics = read(sources, known, "daily_metrics")
    request = validate("orders", {}, None, ADMIN, known)
    daily = validate("daily_metrics", {}, None, ADMIN, known)
    with open_rows(sources, request) as rows, open_rows(sources, daily) as days:
        first = next(days.batches)
        platform.source(
            "UPDATE orders SET total_minor = total_minor + 100, tax_minor = tax_minor + 100"
            " WHERE completed_at IS NOT NULL"
        )
        orders = [fact for fact in DAILY_FACTS if fact.name == "orders"]
        extract(platform.lake, source_of(platform), EVERY_DAY, orders, "meanwhile")
        with psycopg.connect(platform.settings.warehouse_owner_url.get_secret_value()) as owner:
            owner.execute("UPDATE reporting.daily_metrics SET requests = requests + 1")
        assert pl.concat(rows.batches).equals(expected)
        assert pl.concat([first, *days.batches]).equals(metrics)
    after, changed = read(sources, known, "orders")
    assert after.data_version != before.data_version
    assert after.as_of > before.as_of
    assert not changed.equals(expected)
    published, seen = read(sources, known, "daily_metrics")
    assert not seen.equals(metrics)
    # A range's version is that of its own days, which have ended.
    filters = {"days": {"first": "2026-03-01", "last": "2026-03-02"}}
    assert read(sources, known, "daily_metrics", filters)[0].data_version != published.data_version
    assert published.is_complete
    again, old = read(sources, known, "orders", snapshot=before.lake_snapshot)
    assert (again.data_version, again.as_of) == (before.data_version, before.as_of)
    assert old.equals(expected)


def test_days_that_are_not_published_are_not_an_empty_file(
    platform: Deployment, sources: Sources
) -> None:
    filters = {"days": {"first": "2031-01-01"}}
    with pytest.raises(NotPublishedError, match="daily_metrics from 2031-01-01"):
        read(sources, catalogue(platform), "daily_metrics", filters)


def test_an_event_that_is_gone_when_the_job_runs_is_refused(
    platform: Deployment, sources: Sources
) -> None:
    known = Catalogue(events={**catalogue(platform).events, 10**12: 1})
    with pytest.raises(RequestError, match="there is no event 1000000000000"):
        read(sources, known, "orders", {"events": [10**12]})


def test_rows_that_are_not_as_many_as_counted_are_an_error(
    platform: Deployment, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exports import reading

    counted = reading._totals

    def one_more(*arguments: Any) -> Any:
        return {key: replace(t, rows=t.rows + 1) for key, t in counted(*arguments).items()}

    monkeypatch.setattr(reading, "_totals", one_more)
    with pytest.raises(IncompleteReadError, match="must not be used"):
        read(sources, catalogue(platform), "refunds")


def test_the_warehouse_is_read_in_one_repeatable_read_transaction(
    platform: Deployment, sources: Sources
) -> None:
    from exports import reading

    request = validate("revenue", {}, None, ADMIN, KNOWN)
    with reading._session(sources, request, None) as connection:
        level = connection.execute(
            "FROM postgres_query('warehouse', 'SELECT current_setting(''transaction_isolation'')')"
        ).fetchone()
    assert level == ("repeatable read",)
