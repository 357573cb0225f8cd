"""The sample platform's seed: deterministic, true to its rules, and realistic."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from local.ticketing.engine import TABLES
from local.ticketing.invariants import INVARIANTS_SQL, violations
from local.ticketing.seed import LOADING_SCHEMA, SeedReport, seed

UNTIL = datetime(2025, 6, 15, 11, 0, tzinfo=UTC)
ORDERS = 10_000


def rows(url: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query, parameters or None).fetchall()  # type: ignore[call-overload,no-any-return]


def value(url: str, query: str, *parameters: object) -> Any:
    return rows(url, query, *parameters)[0][0]


def content(url: str) -> dict[str, str]:
    """One hash per table of its rows in order."""
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        return {
            table: connection.execute(
                sql.SQL("SELECT md5(string_agg(md5(t::text), '' ORDER BY t)) FROM {} t").format(
                    sql.Identifier(table)
                )
            ).fetchall()[0][0]
            for table in TABLES
        }


@pytest.fixture(scope="module")
def seeded(fresh_database: Callable[..., str]) -> tuple[str, SeedReport]:
    url = fresh_database("ticketing")
    return url, seed(url, orders=ORDERS, until=UNTIL)


@pytest.fixture(scope="module")
def platform(seeded: tuple[str, SeedReport]) -> str:
    return seeded[0]


def test_every_rule_holds(platform: str) -> None:
    assert violations(platform, UNTIL) == {}


@pytest.mark.parametrize(
    "damage",
    [
        """UPDATE orders SET total_minor = total_minor + 1 WHERE order_id =
           (SELECT min(order_id) FROM orders WHERE completed_at IS NOT NULL)""",
        """UPDATE tickets SET unsold_minor = unsold_minor + 2 WHERE ticket_id =
           (SELECT min(ticket_id) FROM tickets WHERE status = 'cancelled')""",
        """UPDATE refunds SET amount_minor = amount_minor - 1 WHERE refund_id =
           (SELECT min(refund_id) FROM refunds
            WHERE status = 'succeeded' AND reason <> 'goodwill')""",
        """DELETE FROM payments WHERE payment_id =
           (SELECT min(payment_id) FROM payments p WHERE status = 'confirmed'
            AND NOT EXISTS (SELECT FROM refunds r WHERE r.order_id = p.order_id)
            AND NOT EXISTS (SELECT FROM disputes d WHERE d.order_id = p.order_id))""",
        "UPDATE tickets SET is_test = NOT is_test WHERE ticket_id = 1",
        "UPDATE tickets SET issued_at = issued_at - interval '1 s' WHERE ticket_id = 2",
        "UPDATE check_ins SET updated_at = '2025-06-15 11:00:01+00' WHERE check_in_id = 1",
    ],
)
def test_a_damaged_row_breaks_a_rule(platform: str, damage: str) -> None:

    statement = INVARIANTS_SQL.read_bytes()
    with psycopg.connect(platform) as connection:
        assert connection.execute(damage).rowcount == 1  # type: ignore[call-overload]
        broken = [r for r, n in connection.execute(statement, {"now": UNTIL}).fetchall() if n]
        connection.rollback()
    assert broken


def test_the_report_counts_what_is_stored(seeded: tuple[str, SeedReport]) -> None:
    url, report = seeded
    stored = {table: value(url, f"SELECT count(*) FROM {table}") for table in TABLES}
    assert report.rows == stored
    assert report.rows["orders"] == ORDERS
    assert (report.first_day, report.last_instant) == (date(2024, 5, 15), UNTIL)


def test_same_arguments_give_the_same_bytes_whatever_the_chunks(
    platform: str, fresh_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.ticketing.seed._CHUNK_ORDERS", 3_000)
    again = fresh_database("ticketing")
    seed(again, orders=ORDERS, until=UNTIL)
    assert content(again) == content(platform)


def test_another_seed_gives_other_rows_in_every_table(
    platform: str, fresh_database: Callable[..., str]
) -> None:
    other = fresh_database("ticketing")
    seed(other, orders=ORDERS, until=UNTIL, seed=2)
    different = content(other)
    assert [t for t, digest in content(platform).items() if different[t] == digest] == []


def test_a_second_seed_is_refused_and_changes_nothing(platform: str) -> None:
    before = content(platform)
    with pytest.raises(RuntimeError, match=r"already holds rows in public\.organizers"):
        seed(platform, orders=ORDERS, until=UNTIL)
    assert content(platform) == before


def test_a_seed_that_died_leaves_nothing_in_the_way(fresh_database: Callable[..., str]) -> None:
    url = fresh_database("ticketing")

    def die(step: str, share: float) -> None:
        if step == "keys and indexes":
            raise ConnectionAbortedError("killed")

    with pytest.raises(ConnectionAbortedError):
        seed(url, orders=1_000, until=UNTIL, progress=die)
    assert value(url, "SELECT to_regclass('orders')") is None
    seed(url, orders=1_000, until=UNTIL)
    assert value(url, "SELECT count(*) FROM orders") == 1_000
    assert value(url, "SELECT to_regnamespace(%s)", LOADING_SCHEMA) is None


def test_default_privileges_reach_the_seeded_tables(
    fresh_database: Callable[..., str], role_url: Callable[[str, str], str]
) -> None:
    url = fresh_database("ticketing", connects=["boxoffice_source_reader"])
    with psycopg.connect(url) as connection:
        connection.execute(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
            " GRANT SELECT ON TABLES TO boxoffice_source_reader"
        )
    seed(url, orders=1_000, until=UNTIL)
    reader = role_url(url, "boxoffice_source_reader")
    assert value(reader, "SELECT count(*) FROM orders") == 1_000
    assert not value(reader, "SELECT has_table_privilege('orders', 'UPDATE')")


def test_keys_and_indexes_are_there(platform: str) -> None:
    keys = dict(
        rows(
            platform,
            "SELECT contype::text, count(*) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND convalidated GROUP BY contype",
        )
    )
    assert (keys["p"], keys["f"]) == (13, 23)
    assert value(platform, "SELECT to_regclass('orders_completed_at')") is not None
    assert value(platform, "SELECT bool_and(last_analyze IS NOT NULL) FROM pg_stat_user_tables")


def test_rows_lie_in_the_order_of_time(platform: str) -> None:
    for table, column in [
        ("orders", "placed_at"),
        ("refunds", "requested_at"),
        ("disputes", "withdrawn_at"),
        ("check_ins", "scanned_at"),
    ]:
        found = value(
            platform,
            "SELECT correlation FROM pg_stats WHERE tablename = %s AND attname = %s",
            table,
            column,
        )
        assert found > 0.98, table


def test_every_whole_day_has_its_midnight_cases(platform: str) -> None:
    days = rows(
        platform,
        """
        WITH o AS (SELECT placed_at AT TIME ZONE 'Africa/Nairobi' AS p,
                          completed_at AT TIME ZONE 'Africa/Nairobi' AS c FROM orders),
        beside AS (
            SELECT p::date AS d, p - p::date AS after, NULL::interval AS before, NULL AS paid FROM o
            UNION ALL
            SELECT p::date + 1, NULL, p::date + 1 - p, c - (p::date + 1) FROM o)
        SELECT d, count(*) FILTER (WHERE after = '0 s'),
               count(*) FILTER (WHERE after > '0 s' AND after < '1 min'),
               count(*) FILTER (WHERE before > '0 s' AND before <= '1 min'),
               count(*) FILTER (WHERE paid >= '0 s' AND paid < '1 min')
        FROM beside WHERE d BETWEEN '2024-05-17' AND '2025-06-14' GROUP BY d
        """,
    )
    assert len(days) == 394
    assert [day for day in days if not all(day[1:])] == []
    assert value(
        platform,
        "SELECT count(*) FROM orders WHERE completed_at AT TIME ZONE 'Africa/Nairobi' ="
        " date_trunc('day', completed_at AT TIME ZONE 'Africa/Nairobi')",
    )


def test_days_are_those_of_the_given_zone(fresh_database: Callable[..., str]) -> None:
    url = fresh_database("ticketing")
    report = seed(
        url, orders=2_000, until=date(2024, 11, 5), months=2, time_zone="America/New_York"
    )
    assert report.last_instant == datetime(2024, 11, 6, 5, 0, tzinfo=UTC)
    placed = value(
        url,
        "SELECT count(*) FROM orders WHERE placed_at AT TIME ZONE 'America/New_York' ="
        " date_trunc('day', placed_at AT TIME ZONE 'America/New_York')",
    )
    assert placed > 40
    assert violations(url, report.last_instant) == {}


def test_every_way_to_pay_occurs(platform: str) -> None:
    found = rows(
        platform, "SELECT DISTINCT provider, instrument FROM payments WHERE status = 'confirmed'"
    )
    assert len(found) == 11


def test_currencies_and_one_without_minor_units(platform: str) -> None:
    found = dict(
        rows(platform, "SELECT currency, count(*) FROM orders WHERE total_minor > 0 GROUP BY 1")
    )
    assert set(found) == {"KES", "UGX", "TZS", "USD"}
    assert value(
        platform,
        "SELECT bool_and(price_minor % 1000 = 0 AND price_minor < 1000000) FROM ticket_types"
        " WHERE currency = 'UGX' AND kind = 'admission' AND name = 'Regular'",
    )


def test_the_mega_event_is_the_biggest_by_far(platform: str) -> None:
    sold = rows(
        platform, "SELECT event_id, count(*) FROM tickets GROUP BY event_id ORDER BY 2 DESC LIMIT 2"
    )
    assert sold[0][1] > 2.5 * sold[1][1]


def test_shares_are_those_of_a_real_platform(platform: str) -> None:
    def share(query: str) -> float:
        return float(value(platform, query))

    assert 0.82 < share("SELECT avg((completed_at IS NOT NULL)::int) FROM orders") < 0.90
    assert 0.002 < share("SELECT avg(is_test::int) FROM orders") < 0.009
    assert (
        1.5
        < share("SELECT count(*)::float / (SELECT count(completed_at) FROM orders) FROM tickets")
        < 2.3
    )
    assert 0.40 < share("SELECT avg((converted_at IS NULL)::int) FROM checkouts") < 0.50
    assert 1.2 < share("SELECT count(*)::float / 10000 FROM checkouts") < 1.4
    assert 0.9 < share("SELECT count(*)::float / 10000 FROM payments") < 1.15
    no_shows = share(
        "SELECT avg((c.ticket_id IS NULL)::int) FROM tickets t JOIN ticket_types y USING"
        " (ticket_type_id) JOIN events e ON e.event_id = t.event_id"
        " LEFT JOIN check_ins c USING (ticket_id)"
        " WHERE y.kind = 'admission' AND t.status = 'issued'"
        " AND e.status IN ('completed', 'sold_out') AND y.name <> 'Free Admission'"
        f" AND e.ends_at < '{UNTIL - timedelta(days=4)}'"
    )
    assert 0.09 < no_shows < 0.15
    odd = share(
        "SELECT avg((attendee_name ~ '^[=+@-]' OR attendee_name ~ '[,;\"\\n\\t<]')::int)"
        " FROM tickets WHERE attendee_name IS NOT NULL"
    )
    assert 0.008 < odd < 0.03
    busiest = rows(
        platform,
        "SELECT extract(hour FROM placed_at AT TIME ZONE 'Africa/Nairobi')::int FROM orders"
        " WHERE extract(minute FROM placed_at) BETWEEN 2 AND 57"
        " GROUP BY 1 ORDER BY count(*) DESC LIMIT 2",
    )
    assert {hour for (hour,) in busiest} <= {18, 19, 20, 21}


def test_the_unusual_occurs(platform: str) -> None:
    for what, query in {
        "cancelled event": "SELECT FROM events WHERE status = 'cancelled'",
        "its refund": "SELECT FROM refunds WHERE reason = 'event cancelled'",
        "refund without cancellation": "SELECT FROM refunds WHERE reason = 'goodwill'",
        "failed refund": "SELECT FROM refunds WHERE status = 'failed'",
        "retained fee": "SELECT FROM refunds WHERE retained_fee_minor > 0",
        "partly cancelled order": "SELECT FROM orders o JOIN tickets t USING (order_id)"
        " WHERE o.status = 'completed' AND t.status = 'cancelled'",
        "completed, then cancelled": "SELECT FROM orders"
        " WHERE status = 'cancelled' AND completed_at IS NOT NULL",
        "abandoned order": "SELECT FROM orders WHERE status = 'cancelled' AND completed_at IS NULL",
        "comp": "SELECT FROM tickets WHERE is_comp AND list_price_minor > 0 AND charged_minor = 0",
        "free order": "SELECT FROM orders WHERE completed_at IS NOT NULL AND total_minor = 0",
        "order discount": "SELECT FROM orders WHERE discount_minor > 0",
        "reduced ticket": "SELECT FROM tickets WHERE 0 < charged_minor"
        " AND charged_minor < list_price_minor",
        "paid in two parts": "SELECT FROM payments WHERE status = 'confirmed'"
        " GROUP BY order_id HAVING count(*) > 1",
        "reinstated dispute": "SELECT FROM disputes WHERE status = 'reinstated'",
        "late upload": "SELECT FROM check_ins WHERE uploaded_at > scanned_at + interval '1 day'",
        "order edited later": "SELECT FROM orders"
        " WHERE updated_at > greatest(completed_at, cancelled_at) + interval '1 day'",
        "refund edited later": "SELECT FROM refunds"
        " WHERE updated_at > succeeded_at + interval '1 day'",
        "anonymous buyer": "SELECT FROM orders WHERE customer_id IS NULL",
        "returning buyer": "SELECT FROM orders GROUP BY customer_id HAVING count(*) > 2",
        "donation": "SELECT FROM tickets t JOIN ticket_types y USING (ticket_type_id)"
        " WHERE y.kind = 'donation' AND t.charged_minor > 0",
        "add-on": "SELECT FROM tickets t JOIN ticket_types y USING (ticket_type_id)"
        " WHERE y.kind = 'add_on'",
    }.items():
        assert rows(platform, query + " LIMIT 1"), what


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"orders": 10}, "orders must be 1000 to 100000000"),
        ({"orders": 10**9}, "orders must be"),
        ({"months": 0}, "months must be"),
        ({"until": datetime(2025, 1, 1)}, "until must carry a time zone"),
    ],
)
def test_arguments_out_of_range_are_refused(
    platform: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        seed(platform, **({"until": UNTIL} | arguments))
