"""What can be exported: each dataset with its columns, its order and its filters.

Belongs here: names, headers and meaning of the columns, which of them are personal, which are
exported by default. Does not belong here: whether a request can become an export
(``exports.requests``), statements (``exports/sql``), running them (``exports.reading``), or who
sees what (``exports.masking``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from exports import filters as f
from exports.columns import Column, Kind, Series
from exports.filters import Filters
from exports.masking import Pii
from metrics import datasets as published
from metrics.registry import BASE_MEASURES, METRICS, MONEY, RATIOS, Distinct, Ratio, Stored
from resources.source_contract import DAILY_FACTS

EVENT = "event_id"
"""Column that says which event a row belongs to."""


class Origin(StrEnum):
    """Where the rows are."""

    LAKE = "lake"
    WAREHOUSE = "warehouse"


@dataclass(frozen=True, kw_only=True)
class ExportColumn(Column):
    """A column that can be chosen.

    Attributes:
        description: what its values are.
        default: exported when no columns are named.
        pii: what personal data it holds; how it is given is said by ``exports.masking``.
        searched: ``part``: a search looks for the text in it; ``whole``: for exactly the text.
        ratio: what it is computed of for each row; never summed.
    """

    description: str
    default: bool = True
    pii: Pii | None = None
    searched: str | None = None
    ratio: Ratio | None = None

    @property
    def of_money(self) -> bool:
        """Whether it is a ratio of an amount, in the currency's major unit."""
        return self.ratio is not None and METRICS[self.ratio.numerator].unit == MONEY

    def written(self) -> Column:
        """The column as the formats know it."""
        return Column(
            name=self.name,
            header=self.header,
            kind=self.kind,
            currency=self.currency,
            total=self.total,
            is_key=self.is_key,
        )


@dataclass(frozen=True, kw_only=True)
class ExportDataset:
    """One dataset.

    Attributes:
        title: of files.
        description: what one row is.
        statement: the file of ``exports/sql`` that returns its rows; ``<statement>_totals`` counts
            and sums them, independently.
        order: columns that put the rows in one possible order; never personal data.
        days: the filter that names the reporting days, or periods, whose rows are asked for.
        facts: daily facts of the lake it is read from.
        tables: published tables it is read from; the first has the rows.
        period: slice of time of that table's partitions.
        series: where a chart makes sense and its columns are exported.
    """

    name: str
    title: str
    description: str
    origin: Origin
    columns: tuple[ExportColumn, ...]
    order: tuple[str, ...]
    filters: type[Filters]
    statement: str
    days: str | None = None
    facts: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    period: published.Period = "day"
    series: Series | None = None

    def __post_init__(self) -> None:
        """Refuse an order that would show what is masked."""
        for name in self.order:
            if self.by_name[name].pii is not None:
                raise ValueError(f"{self.name}: rows must not be sorted by {name}")

    @property
    def has_events(self) -> bool:
        """Whether each row belongs to one event, so that each event can have its own file."""
        return EVENT in self.by_name

    @cached_property
    def by_name(self) -> dict[str, ExportColumn]:
        """The columns by name."""
        return {column.name: column for column in self.columns}


def _column(
    name: str,
    kind: Kind,
    description: str,
    *,
    header: str | None = None,
    total: bool = False,
    default: bool = True,
    pii: Pii | None = None,
    searched: str | None = None,
    is_key: bool = False,
) -> ExportColumn:
    return ExportColumn(
        name=name,
        header=header or name.removesuffix("_at").replace("_", " ").capitalize(),
        kind=kind,
        currency="currency" if kind is Kind.MONEY else None,
        total=total,
        description=description,
        default=default,
        pii=pii,
        searched=searched,
        is_key=is_key,
    )


def _key(
    name: str, description: str, *, default: bool = True, searched: bool = False
) -> ExportColumn:
    return _column(
        name,
        Kind.INTEGER,
        description,
        header=name.removesuffix("_id").replace("_", " ").capitalize() + " ID",
        default=default,
        searched="whole" if searched else None,
        is_key=True,
    )


_TEXT, _MONEY, _AT = Kind.TEXT, Kind.MONEY, Kind.INSTANT
_ORGANIZER = _key("organizer_id", "Organizer of the event.", default=False)
_ORGANIZER_NAME = _column("organizer_name", _TEXT, "Name of the organizer.", default=False)
_EVENT = _key(EVENT, "Event.")
_EVENT_NAME = _column("event_name", _TEXT, "Name of the event.")
_CURRENCY = _column("currency", _TEXT, "ISO 4217 code.")
_TEST = _column("is_test", Kind.BOOLEAN, "Of the test mode.", header="Test", default=False)
_RECORDED = _column("recorded_at", _AT, "When the platform last wrote it.", default=False)
_PROVIDER = _column("provider", _TEXT, "Payment provider.")
_INSTRUMENT = _column("instrument", _TEXT, "What the buyer paid with.")
_ORDER_ID = _key("order_id", "Order.")
_BUYER_KEY = _column(
    "buyer_key",
    _TEXT,
    "The same for every order of a buyer with one organizer; says nothing of who it is.",
    default=False,
    pii=Pii.PSEUDONYM,
)
_WHOSE = (_EVENT, _EVENT_NAME, _ORGANIZER, _ORGANIZER_NAME)


def _person(name: str, description: str, pii: Pii) -> ExportColumn:
    return _column(name, _TEXT, description, pii=pii, searched="part")


_ATTENDEES = ExportDataset(
    name="attendees",
    title="Attendees",
    description="Each ticket once, with its holder and whether it was scanned.",
    origin=Origin.LAKE,
    columns=(
        _key("ticket_id", "Ticket.", searched=True),
        _key("order_id", "Order.", searched=True),
        *_WHOSE,
        _key("ticket_type_id", "Ticket type.", default=False),
        _column("ticket_type_name", _TEXT, "Name of the ticket type.", searched="part"),
        _column("ticket_type_kind", _TEXT, "admission, add_on or donation.", default=False),
        _column("status", _TEXT, "issued or cancelled."),
        _person("attendee_name", "Name of the holder.", Pii.NAME),
        _person("attendee_email", "E-mail of the holder.", Pii.EMAIL),
        _person("attendee_phone", "Phone of the holder.", Pii.PHONE),
        _column(
            "attendee_key",
            _TEXT,
            "The same for every ticket of a holder with one organizer, and the buyer_key of their"
            " own orders; says nothing of who it is.",
            default=False,
            pii=Pii.PSEUDONYM,
        ),
        _column("contact_consent", Kind.BOOLEAN, "The organizer may contact the holder."),
        _column("list_price", _MONEY, "List price.", default=False),
        _column("charged", _MONEY, "Price charged, before discounts of the whole order."),
        _CURRENCY,
        _column("is_comp", Kind.BOOLEAN, "Complimentary.", header="Complimentary", default=False),
        _column("issued_at", _AT, "When it was sold."),
        _column("cancelled_at", _AT, "When it was cancelled.", default=False),
        _column("checked_in", Kind.BOOLEAN, "Whether it was scanned at the gate."),
        _column("checked_in_at", _AT, "When it was first scanned.", header="Checked in at"),
        _TEST,
        _RECORDED,
    ),
    order=("event_id", "ticket_id"),
    filters=f.AttendeeFilters,
    statement="attendees",
    days="sold",
    facts=("tickets", "attendees", "check_ins"),
)


def _orders(name: str, title: str, description: str, state: ExportColumn) -> ExportDataset:
    return ExportDataset(
        name=name,
        title=title,
        description=description,
        origin=Origin.LAKE,
        columns=(
            _ORDER_ID,
            *_WHOSE,
            state,
            _column("channel", _TEXT, "Where the order was made."),
            _column("discount", _MONEY, "Discount of the whole order.", default=False),
            _column("buyer_fees", _MONEY, "Fees charged to the buyer on top.", default=False),
            _column("tax", _MONEY, "Tax charged to the buyer on top.", default=False),
            _column("total", _MONEY, "What the buyer is charged in all."),
            _column("platform_fee", _MONEY, "The platform's fee for the order.", default=False),
            _CURRENCY,
            _column("placed_at", _AT, "When it was placed."),
            _column("completed_at", _AT, "When it was paid, or confirmed as free."),
            _column("cancelled_at", _AT, "When it was cancelled."),
            _column("expired_at", _AT, "When it expired unpaid.", default=name == "requests"),
            _BUYER_KEY,
            _TEST,
            _RECORDED,
        ),
        order=("event_id", "order_id"),
        filters=f.OrderFilters if name == "orders" else f.RequestFilters,
        statement=name,
        days="completed" if name == "orders" else "placed",
        facts=("orders",),
    )


_PAYMENTS = ExportDataset(
    name="payments",
    title="Payments",
    description="Each confirmed payment once.",
    origin=Origin.LAKE,
    columns=(
        _key("payment_id", "Payment."),
        _ORDER_ID,
        *_WHOSE,
        _PROVIDER,
        _INSTRUMENT,
        _column("amount", _MONEY, "Amount received."),
        _column("processing_fee", _MONEY, "The provider's fee."),
        _CURRENCY,
        _column("confirmed_at", _AT, "When the money was confirmed."),
        _TEST,
        _RECORDED,
    ),
    order=("event_id", "payment_id"),
    filters=f.PaymentFilters,
    statement="payments",
    days="confirmed",
    facts=("payments",),
)
_REFUNDS = ExportDataset(
    name="refunds",
    title="Refunds",
    description="Each refund that succeeded once.",
    origin=Origin.LAKE,
    columns=(
        _key("refund_id", "Refund."),
        _ORDER_ID,
        *_WHOSE,
        _PROVIDER,
        _INSTRUMENT,
        _column("amount", _MONEY, "Amount returned to the buyer."),
        _column("platform_fee_returned", _MONEY, "Platform fee returned.", default=False),
        _column("processing_fee_returned", _MONEY, "Processing fee returned.", default=False),
        _CURRENCY,
        _column("succeeded_at", _AT, "When the refund succeeded."),
        _column("sold_at", _AT, "When the order was completed."),
        _TEST,
        _RECORDED,
    ),
    order=("event_id", "refund_id"),
    filters=f.RefundFilters,
    statement="refunds",
    days="succeeded",
    facts=("refunds",),
)

_HEADLINES = (
    *("requests", "orders", "tickets_sold", "tickets_cancelled", "check_ins"),
    *("gross_revenue", "net_sales", "refunds", "net_collected", "organizer_net"),
    *("aov", "request_conversion", "check_in_rate"),
)
_RATIO_HEADERS = {"aov": "Average order value"}


def _metric(metric: Stored, *, default: bool) -> ExportColumn:
    money = metric.unit == MONEY
    return _column(
        metric.name,
        Kind.MONEY if money else Kind.INTEGER,
        metric.definition,
        total=not money and not isinstance(metric, Distinct),
        default=default,
    )


def _ratios(names: Sequence[str]) -> list[ExportColumn]:
    """The ratios whose two terms are among a dataset's metrics."""
    return [
        ExportColumn(
            name=ratio.name,
            header=_RATIO_HEADERS.get(ratio.name, ratio.name.replace("_", " ").capitalize()),
            kind=Kind.DECIMAL,
            description=f"{ratio.definition} {ratio.formula} of the row, rounded half away from"
            " zero to 4 places; of money in the currency's major unit.",
            default=ratio.name in _HEADLINES,
            ratio=ratio,
        )
        for ratio in RATIOS.values()
        if {ratio.numerator, ratio.denominator} <= set(names)
    ]


_MOVEMENTS = ExportDataset(
    name="movements",
    title="Movements",
    description="The ledger: each thing that happened once; every metric is a sum of its columns.",
    origin=Origin.LAKE,
    columns=(
        _column("movement_id", _TEXT, "Table, key and leg it comes from.", header="Movement"),
        _column("kind", _TEXT, "What happened."),
        _column("business_date", Kind.DATE, "Reporting day.", header="Day"),
        _column("effective_at", _AT, "When it happened."),
        _RECORDED,
        _column("origin_date", Kind.DATE, "Reporting day of the sale.", default=False),
        *_WHOSE,
        _key("ticket_type_id", "Ticket type.", default=False),
        _ORDER_ID,
        _column("provider", _TEXT, "Payment provider.", default=False),
        _column("instrument", _TEXT, "What the buyer paid with.", default=False),
        _column("channel", _TEXT, "Where it was made.", default=False),
        _CURRENCY,
        _BUYER_KEY,
        *(_metric(METRICS[name], default=True) for name in BASE_MEASURES),
    ),
    order=("business_date", "movement_id"),
    filters=f.MovementFilters,
    statement="movements",
    days="days",
    facts=tuple(fact.name for fact in DAILY_FACTS),
)

_KINDS = {"bigint": Kind.INTEGER, "date": Kind.DATE, "text": Kind.TEXT, "timestamptz": Kind.INSTANT}


def _dimension(column: published.Column) -> ExportColumn:
    own = {c.name: c for c in (_ORGANIZER, _ORGANIZER_NAME, _EVENT, _EVENT_NAME)}.get(column.name)
    if own is not None:
        return own
    if column.name.endswith("_id"):
        return _key(column.name, column.description)
    return _column(column.name, _KINDS[column.type], column.description)


def _finished(
    dataset: published.Dataset,
    title: str,
    filters: type[Filters],
    statement: str = "finished",
) -> ExportDataset:
    dimensions = [_dimension(column) for column in (*dataset.grain, *dataset.attributes)]
    if dataset.name != "event_summary":
        at = [column.name for column in dimensions].index("event_id") + 1
        dimensions[at:at] = [_EVENT_NAME, _ORGANIZER_NAME]
    else:
        dimensions = [
            replace(column, searched="part") if column.name in ("event_name", "venue") else column
            for column in dimensions
        ]
    every = len(dataset.metrics) <= len(_HEADLINES)
    metrics = [_metric(m, default=every or m.name in _HEADLINES) for m in dataset.metrics]
    names = [metric.name for metric in metrics]
    day = dataset.grain[0].name
    days = {"day": "days", "week": "starting", "month": "starting"}.get(dataset.period)
    drawn = [n for n in ("gross_revenue", "payments", "ticket_revenue") if n in names][:1]
    return ExportDataset(
        name=dataset.name,
        title=title,
        description=dataset.description,
        origin=Origin.WAREHOUSE,
        columns=(*dimensions, *metrics, *_ratios(names)),
        order=tuple(column.name for column in dataset.grain),
        filters=filters,
        statement=statement,
        days=days,
        tables=tuple(dict.fromkeys((dataset.name, "event_summary"))),
        period=dataset.period,
        series=None if dataset.period == "all" else Series(day=day, values=tuple(drawn)),
    )


_REVENUE_METRICS = (
    *("orders", "tickets_sold", "gross_revenue", "sale_reversals", "net_sales", "payments"),
    *("refunds", "chargebacks", "net_collected", "platform_fees", "processing_fees"),
    "organizer_net",
)
_REVENUE_COUNTS = ("requests", "paid_orders", "checkouts", "visitors", "check_ins")
REVENUE = ExportDataset(
    name="revenue",
    title="Revenue",
    description="Sales and money of each event and currency over the days asked for.",
    origin=Origin.WAREHOUSE,
    columns=(
        *_WHOSE,
        _CURRENCY,
        _column("first_day", Kind.DATE, "First published day that is in the sums.", default=False),
        _column("last_day", Kind.DATE, "Last published day that is in the sums.", default=False),
        *(_metric(METRICS[name], default=True) for name in _REVENUE_METRICS),
        *(_metric(METRICS[name], default=False) for name in _REVENUE_COUNTS),
        *_ratios([*_REVENUE_METRICS, *_REVENUE_COUNTS]),
    ),
    order=("organizer_id", "event_id", "currency"),
    filters=f.DayFilters,
    statement="revenue",
    days="days",
    tables=("daily_metrics", "event_summary"),
)

EXPORTS: dict[str, ExportDataset] = {
    dataset.name: dataset
    for dataset in (
        _ATTENDEES,
        _orders(
            "orders",
            "Orders",
            "Each completed order once, also where it was cancelled later.",
            _column("status", _TEXT, "completed or cancelled."),
        ),
        _orders(
            "requests",
            "Purchase requests",
            "Each order placed once, with what became of it.",
            _column("outcome", _TEXT, "pending, completed, cancelled or expired."),
        ),
        _PAYMENTS,
        _REFUNDS,
        _MOVEMENTS,
        _finished(published.DAILY_METRICS, "Daily metrics", f.DayFilters),
        _finished(published.DAILY_PAYMENTS, "Daily payments", f.DailyPaymentFilters),
        _finished(published.DAILY_TICKET_TYPES, "Daily ticket types", f.DailyTicketTypeFilters),
        _finished(published.WEEKLY_REVENUE, "Weekly revenue", f.PeriodFilters),
        _finished(published.MONTHLY_REVENUE, "Monthly revenue", f.PeriodFilters),
        _finished(published.EVENT_SUMMARY, "Event summary", f.EventSummaryFilters, "event_summary"),
        REVENUE,
    )
}
"""Every dataset by name."""
