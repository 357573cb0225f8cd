"""The finished datasets: which dimensions and metrics each published table has.

Belongs here: grain, metrics, period and meaning of every table in the ``reporting`` schema, and the
readers' queries its indexes serve. Does not belong here: the meaning of a metric
(``metrics.registry``) or the statement that fills the table (``assets/sql``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metrics.registry import BASE_MEASURES, METRICS, Derived, Stored, terms

Period = Literal["day", "week", "month", "all"]
ColumnType = Literal["bigint", "date", "text", "timestamptz"]


@dataclass(frozen=True)
class Column:
    """A dimension or attribute column of a finished table.

    Attributes:
        values: all it may hold; anything where none are named.
    """

    name: str
    type: ColumnType
    description: str
    nullable: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """An index of a finished table and the readers' query it serves."""

    columns: tuple[str, ...]
    serves: str


@dataclass(frozen=True)
class Dataset:
    """One finished table of the ``reporting`` schema.

    Attributes:
        name: table and Dagster asset.
        description: what one row is.
        period: the slice of time one partition holds.
        grain: the columns that identify a row; the first is the partition's column.
        attributes: further columns that describe the row.
        metric_names: names from the registry, in column order.
        indexes: besides the primary key, which starts with the partition's column.
        partial: base measures of which it has only what its grain can be attributed to.
    """

    name: str
    description: str
    period: Period
    grain: tuple[Column, ...]
    metric_names: tuple[str, ...]
    attributes: tuple[Column, ...] = ()
    indexes: tuple[Index, ...] = ()
    partial: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[Stored, ...]:
        """The metrics this dataset carries."""
        return tuple(METRICS[name] for name in self.metric_names)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Every column in table order."""
        return (*(c.name for c in (*self.grain, *self.attributes)), *self.metric_names)

    @property
    def base_measures(self) -> tuple[str, ...]:
        """The measures of the ledger that this dataset's values are sums of, in order."""
        used = {name for metric in self.metrics for name in terms(metric)}
        return tuple(name for name in BASE_MEASURES if name in used)

    @property
    def reconciled_measures(self) -> tuple[str, ...]:
        """Base measures it carries as columns, whose sums must be those of the source."""
        columns = set(self.metric_names) - set(self.partial)
        return tuple(name for name in self.base_measures if name in columns)

    @property
    def scope(self) -> tuple[Column, ...]:
        """The grain beyond partition, organizer, event and currency."""
        whose = {"organizer_id", "event_id", "currency"}
        beyond = self.grain if self.period == "all" else self.grain[1:]
        return tuple(column for column in beyond if column.name not in whose)

    @property
    def derived(self) -> tuple[Derived, ...]:
        """Metrics whose identity the table can check: all their terms are columns of it."""
        return tuple(
            metric
            for metric in self.metrics
            if isinstance(metric, Derived)
            and set(metric.plus + metric.minus) <= set(self.metric_names)
        )


_BUSINESS_DATE = Column("business_date", "date", "Reporting day in the reporting time zone.")
_ORGANIZER = Column("organizer_id", "bigint", "Organizer of the event.")
_EVENT = Column("event_id", "bigint", "Event the movement belongs to.")
_CURRENCY = Column("currency", "text", "ISO 4217 code; money columns are its minor units.")

_REVENUE = tuple(METRICS)
_BY_ORGANIZER = "one organizer's series over a range of days"
_BY_EVENT = "one event's series over a range of days"

DAILY_METRICS = Dataset(
    name="daily_metrics",
    description="Every metric per reporting day and event. Events on sale without a movement have "
    "a row of zeros, so that no sales and not loaded are told apart.",
    period="day",
    grain=(_BUSINESS_DATE, _ORGANIZER, _EVENT, _CURRENCY),
    metric_names=_REVENUE,
    indexes=(
        Index(("organizer_id", "business_date"), _BY_ORGANIZER),
        Index(("event_id", "business_date"), _BY_EVENT),
    ),
)

DAILY_PAYMENTS = Dataset(
    name="daily_payments",
    description="Money in and out per reporting day, event, payment provider and instrument.",
    period="day",
    grain=(
        _BUSINESS_DATE,
        _ORGANIZER,
        _EVENT,
        _CURRENCY,
        Column(
            "provider",
            "text",
            "Payment provider, for example MPESA or CARD.",
            values=("MPESA", "PESAPAL", "PAYHERO", "CARD", "CASH"),
        ),
        Column(
            "instrument",
            "text",
            "What the buyer paid with, for example mpesa or visa.",
            values=("mpesa", "airtel", "visa", "mastercard", "bank", "cash"),
        ),
    ),
    metric_names=(
        "payments",
        "payments_count",
        "refunds",
        "refunds_count",
        "chargebacks",
        "net_collected",
        "processing_fees",
    ),
    indexes=(
        Index(("organizer_id", "business_date"), _BY_ORGANIZER),
        Index(("event_id", "business_date"), _BY_EVENT),
    ),
)

DAILY_TICKET_TYPES = Dataset(
    name="daily_ticket_types",
    description="Tickets, add-ons and donations per reporting day and ticket type.",
    period="day",
    grain=(
        _BUSINESS_DATE,
        _ORGANIZER,
        _EVENT,
        _CURRENCY,
        Column("ticket_type_id", "bigint", "Ticket type sold, cancelled or scanned."),
    ),
    attributes=(
        Column("ticket_type_name", "text", "Name of the ticket type."),
        Column(
            "ticket_type_kind",
            "text",
            "admission, add_on or donation.",
            values=("admission", "add_on", "donation"),
        ),
    ),
    metric_names=(
        "tickets_paid",
        "tickets_free",
        "tickets_comp",
        "tickets_sold",
        "tickets_cancelled",
        "check_ins",
        "face_value",
        "discounts",
        "ticket_revenue",
        "sale_reversals",
    ),
    partial=("discounts",),  # those of whole orders belong to no ticket type
    indexes=(
        Index(("organizer_id", "business_date"), _BY_ORGANIZER),
        Index(("event_id", "business_date"), _BY_EVENT),
    ),
)

WEEKLY_REVENUE = Dataset(
    name="weekly_revenue",
    description="Every metric per ISO week and event: the sum of its days; buyers counted anew.",
    period="week",
    grain=(
        Column("week_start", "date", "Monday of the ISO week."),
        _ORGANIZER,
        _EVENT,
        _CURRENCY,
    ),
    attributes=(Column("iso_week", "text", "ISO 8601 week, for example 2025-W01."),),
    metric_names=_REVENUE,
    indexes=(
        Index(("organizer_id", "week_start"), "one organizer's series over a range of weeks"),
        Index(("event_id", "week_start"), "one event's series over a range of weeks"),
    ),
)

MONTHLY_REVENUE = Dataset(
    name="monthly_revenue",
    description="Every metric per calendar month and event: the sum of its days; buyers counted "
    "anew.",
    period="month",
    grain=(
        Column("month_start", "date", "First day of the calendar month."),
        _ORGANIZER,
        _EVENT,
        _CURRENCY,
    ),
    metric_names=_REVENUE,
    indexes=(
        Index(("organizer_id", "month_start"), "one organizer's series over a range of months"),
        Index(("event_id", "month_start"), "one event's series over a range of months"),
    ),
)

EVENT_SUMMARY = Dataset(
    name="event_summary",
    description="One row per event: what it is, and its metrics over all published days.",
    period="all",
    grain=(_EVENT,),
    attributes=(
        _ORGANIZER,
        Column("organizer_name", "text", "Name of the organizer."),
        Column("event_name", "text", "Name of the event."),
        Column("category", "text", "Kind of event.", nullable=True),
        Column("venue", "text", "Where it takes place.", nullable=True),
        Column("event_time_zone", "text", "Time zone of the venue."),
        _CURRENCY,
        Column(
            "status",
            "text",
            "State of the event on the platform.",
            values=("draft", "on_sale", "sold_out", "completed", "cancelled"),
        ),
        Column("capacity", "bigint", "Admissions that can be sold.", nullable=True),
        Column("on_sale_at", "timestamptz", "Start of sales.", nullable=True),
        Column("starts_at", "timestamptz", "Start of the event.", nullable=True),
        Column("ends_at", "timestamptz", "End of the event.", nullable=True),
        Column("first_sale_date", "date", "First reporting day with an order.", nullable=True),
        Column("last_sale_date", "date", "Last reporting day with an order.", nullable=True),
    ),
    metric_names=_REVENUE,
    indexes=(Index(("organizer_id", "starts_at"), "one organizer's events, upcoming first"),),
)

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        DAILY_METRICS,
        DAILY_PAYMENTS,
        DAILY_TICKET_TYPES,
        WEEKLY_REVENUE,
        MONTHLY_REVENUE,
        EVENT_SUMMARY,
    )
}
