"""A published sample platform that tests of the read API share: real figures, read by the pipeline.

Organizers have several events, events are in several currencies, days, weeks, months and summaries
are published, one closed day was published anew after its facts changed, and the last day is open.
Tests only read it.

A module has it as a fixture of its own::

    @pytest.fixture(scope="module")
    def platform(make_deployment, role_url) -> Platform:
        return published_platform(make_deployment, role_url)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl
import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from local.ticketing.seed import seed
from metrics.datasets import DAILY_METRICS, DAILY_PAYMENTS, Dataset
from pipelines.settings import Settings
from tests.api_client import SECRET
from tests.deployment import Deployment
from warehouse.publish import Provenance, connect, next_attempt, publish

TIME_ZONE = "Africa/Nairobi"
FIRST, LAST = date(2026, 2, 9), date(2026, 2, 26)
RESTATED = date(2026, 2, 17)
"""A closed day on which, after it was published, an order of the best event was found wrong."""
ABSENT = 987_654_321
"""Neither an event nor an organizer."""

_made: dict[int, Platform] = {}


@dataclass(frozen=True)
class Platform:
    """The deployment, settings of a read API over it, and who is on it.

    Attributes:
        organizer: with several events in several currencies, if there is one; else the busiest.
        other: another organizer, with sales too.
        events: ids of the organizer's events, the best first.
        event: the first of them; it is the one with the restatement.
        foreign_event: the best event of the other organizer.
    """

    deployment: Deployment
    settings: Settings
    organizer: int
    other: int
    events: tuple[int, ...]
    foreign_event: int

    @property
    def event(self) -> int:
        return self.events[0]

    def rows(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Rows of the warehouse, as its publisher sees them: every organizer's."""
        return self.deployment.rows(query, parameters)

    def source(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Rows of the ticketing platform."""
        with psycopg.connect(self.deployment.source_owner_url, row_factory=dict_row) as connection:
            return connection.execute(query.encode(), parameters).fetchall()


def published_platform(
    make_deployment: Callable[..., Deployment], role_url: Callable[[str, str], str]
) -> Platform:
    """The platform, published once in each process of tests."""
    key = id(role_url)
    if key not in _made:
        _made[key] = _publish(make_deployment, role_url)
    return _made[key]


def _publish(
    make_deployment: Callable[..., Deployment], role_url: Callable[[str, str], str]
) -> Platform:
    deployment = make_deployment(
        start_date=FIRST, api_token_secret=SECRET, api_pool_max=4, api_access_log=False
    )
    source = deployment.source_owner_url
    seed(source, orders=1_500, until=LAST, months=1, seed=5, time_zone=TIME_ZONE)
    deployment.source(_SECOND_CURRENCY)
    deployment.run("refresh_days", str(FIRST), str(LAST))
    organizer, other, events, foreign_event = _who(deployment)
    _refund_late(deployment, events[0])
    _publish_anew(deployment, DAILY_METRICS, LAST, {}, [], is_complete=False)
    deployment.run("roll_up_weeks", "2026-02-09", "2026-02-23")
    deployment.run("roll_up_months", "2026-02-01")
    deployment.run("summarize_events")
    reader = _let_in(deployment.settings.warehouse_owner_url.get_secret_value(), role_url)
    settings = deployment.settings.model_copy(update={"warehouse_reader_url": SecretStr(reader)})
    return Platform(deployment, settings, organizer, other, events, foreign_event)


_SECOND_CURRENCY = """
UPDATE events SET organizer_id = 2, updated_at = updated_at
WHERE event_id = (SELECT event_id FROM events JOIN orders USING (event_id)
    WHERE organizer_id = 4 GROUP BY event_id ORDER BY count(*) DESC, event_id LIMIT 1)
"""
"""The seed gives each organizer one currency; organizer 2 sells in dollars, too."""

_LATE_REFUND = """
INSERT INTO refunds (refund_id, order_id, payment_id, event_id, provider, instrument, status,
    currency, amount_minor, platform_fee_returned_minor, requested_at, succeeded_at, updated_at)
SELECT 900000001, order_id, payment_id, event_id, provider, instrument, 'succeeded', currency,
    12300, 0, '{day} 06:00+00', '{day} 06:00+00', now()
FROM payments
WHERE event_id = {event} AND status = 'confirmed' AND NOT is_test
  AND (confirmed_at AT TIME ZONE '{zone}')::date = '{day}'
ORDER BY payment_id LIMIT 1
RETURNING provider, instrument
"""


def _refund_late(deployment: Deployment, event: int) -> None:
    """A refund that the day was published without; what the pipeline publishes then."""
    text = _LATE_REFUND.format(event=event, day=RESTATED, zone=TIME_ZONE)
    with psycopg.connect(deployment.source_owner_url) as connection:
        found = connection.execute(text.encode()).fetchone()
    assert found is not None
    provider, instrument = found
    whose = pl.col("event_id") == event
    paid_with = (pl.col("provider") == provider) & (pl.col("instrument") == instrument)
    changes = {"refunds": 12300, "refunds_count": 1, "net_collected": -12300}
    _publish_anew(deployment, DAILY_METRICS, RESTATED, changes | {"organizer_net": -12300}, [whose])
    _publish_anew(deployment, DAILY_PAYMENTS, RESTATED, changes, [whose, paid_with])


def _publish_anew(
    deployment: Deployment,
    dataset: Dataset,
    day: date,
    changes: dict[str, int],
    where: list[pl.Expr],
    *,
    is_complete: bool = True,
) -> None:
    """Publish a day's rows again, with changes of some metrics of the rows that are meant."""
    names = ", ".join(dataset.column_names)
    rows = deployment.rows(
        f"SELECT {names} FROM reporting.{dataset.name} WHERE business_date = %s",
        [day],
    )
    meant = pl.all_horizontal(where) if where else pl.lit(value=False)
    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.when(meant).then(pl.col(name) + change).otherwise(pl.col(name)).alias(name)
        for name, change in changes.items()
    )
    present = deployment.rows(
        "SELECT * FROM ops.partitions WHERE dataset = %s AND partition_key = %s",
        [dataset.name, str(day)],
    )[0]
    with connect(deployment.settings.warehouse_url.get_secret_value()) as connection:
        names_kept = ("input_version", "lake_snapshot", "code_version", "source_watermark")
        provenance = Provenance(
            run_id="again",
            attempt=next_attempt(connection),
            is_complete=is_complete,
            **{name: present[name] for name in names_kept},
        )
        publish(connection, dataset, str(day), frame, provenance)


def _who(deployment: Deployment) -> tuple[int, int, tuple[int, ...], int]:
    rows = deployment.rows(
        """SELECT organizer_id, event_id, min(currency) AS currency, sum(orders) AS orders
        FROM reporting.daily_metrics GROUP BY 1, 2 HAVING sum(orders) > 0
        ORDER BY sum(orders) DESC, event_id"""
    )
    events: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        events.setdefault(row["organizer_id"], []).append(row)

    def rank(organizer: int) -> tuple[int, int]:
        own = events[organizer]
        return len({row["currency"] for row in own}), sum(row["orders"] for row in own)

    ranked = sorted(events, key=rank, reverse=True)
    chosen = tuple(row["event_id"] for row in events[ranked[0]])
    return ranked[0], ranked[1], chosen, events[ranked[1]][0]["event_id"]


def _let_in(owner: str, role_url: Callable[[str, str], str]) -> str:
    with psycopg.connect(owner, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO boxoffice_reader").format(name))
    return role_url(owner, "boxoffice_reader")
