"""The metric registry: every published number, stated once.

Belongs here: name, unit, meaning, formula and day of each metric. The DuckDB statements, the
columns and comments in Postgres, the Dagster column schemas and ``docs/metrics.md`` all come from
it. Adding a metric is one entry here and a migration. Does not belong here: which tables carry
which metric (``metrics.datasets``), or how a row of the ledger is made (``movements.sql``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["count", "money"]
COUNT: Unit = "count"
MONEY: Unit = "money"


@dataclass(frozen=True)
class Base:
    """A metric that is the sum of one column of the ledger.

    Attributes:
        name: column in ``movements`` and in every finished table that carries it.
        unit: ``count`` or ``money`` (minor units of the row's currency).
        definition: what one unit of it is, in one sentence.
        day: the moment whose reporting day the value is attributed to.
        signed: whether a day's sum may be below zero.
    """

    name: str
    unit: Unit
    definition: str
    day: str
    signed: bool = False

    @property
    def formula(self) -> str:
        """How it is made from the ledger."""
        return f"sum({self.name})"

    @property
    def sql(self) -> str:
        """DuckDB aggregate; the cast fails loudly where the sum leaves 64 bits."""
        return f"CAST(coalesce(sum({self.name}), 0) AS BIGINT)"


@dataclass(frozen=True)
class Derived:
    """A signed sum of base metrics, so additive itself.

    Attributes:
        plus: base metrics that are added.
        minus: base metrics that are subtracted.
    """

    name: str
    unit: Unit
    definition: str
    day: str
    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """The sum in terms of base metrics; also the CHECK constraint of its column."""
        return " + ".join(self.plus) + "".join(f" - {name}" for name in self.minus)

    @property
    def sql(self) -> str:
        """DuckDB aggregate; the cast fails loudly where the sum leaves 64 bits."""
        terms = [f"coalesce(sum({name}), 0)" for name in (*self.plus, *self.minus)]
        signs = ["+"] * len(self.plus) + ["-"] * len(self.minus)
        body = " ".join(f"{sign} {term}" for sign, term in zip(signs, terms, strict=True))
        return f"CAST({body.removeprefix('+ ')} AS BIGINT)"


@dataclass(frozen=True)
class Distinct:
    """A distinct count: exact at each grain and never summed.

    Attributes:
        of: the ledger column whose distinct values are counted.
        where: the rows of the ledger that count.
    """

    name: str
    unit: Unit
    definition: str
    day: str
    of: str
    where: str

    @property
    def formula(self) -> str:
        """How it is made from the ledger."""
        return f"count(DISTINCT {self.of}) where {self.where}"

    @property
    def sql(self) -> str:
        """DuckDB aggregate over the ledger."""
        return f"count(DISTINCT {self.of}) FILTER (WHERE {self.where})"


@dataclass(frozen=True)
class Ratio:
    """A quotient of two stored metrics: not stored, recomputed at every grain, never averaged."""

    name: str
    definition: str
    numerator: str
    denominator: str

    @property
    def formula(self) -> str:
        """The quotient; without a value where the denominator is zero."""
        return f"{self.numerator} / {self.denominator}"


Stored = Base | Derived | Distinct

_METRICS: tuple[Stored, ...] = (
    Base("requests", COUNT, "Purchase requests: orders placed, whatever became of them.", "placed"),
    Base("checkouts", COUNT, "Checkouts started.", "started"),
    Base("page_views", COUNT, "Views of the event's page.", "viewed"),
    Base("visitors", COUNT, "Visitors of the event's page, counted per day and channel.", "viewed"),
    Base("orders", COUNT, "Orders completed: fully paid, or free and confirmed.", "completed"),
    Base("free_orders", COUNT, "Completed orders with nothing to pay.", "completed"),
    Derived(
        "paid_orders",
        COUNT,
        "Completed orders with something to pay: the denominator of the average order value.",
        "completed",
        plus=("orders",),
        minus=("free_orders",),
    ),
    Base("orders_cancelled", COUNT, "Orders cancelled, before or after completion.", "cancelled"),
    Base("orders_expired", COUNT, "Orders that expired unpaid.", "expired"),
    Base("test_orders", COUNT, "Completed test-mode orders; in no other metric.", "completed"),
    Distinct(
        "buyers",
        COUNT,
        "Distinct buyers of completed orders, by e-mail, phone or account; exact at each grain.",
        "completed",
        of="buyer_key",
        where="orders = 1",
    ),
    Base("tickets_paid", COUNT, "Admissions sold at a price above zero.", "completed"),
    Base("tickets_free", COUNT, "Admissions sold at price zero that are not comps.", "completed"),
    Base("tickets_comp", COUNT, "Complimentary admissions.", "completed"),
    Derived(
        "tickets_sold",
        COUNT,
        "Admissions of completed orders; add-ons and donations are not tickets.",
        "completed",
        plus=("tickets_paid", "tickets_free", "tickets_comp"),
    ),
    Base("tickets_cancelled", COUNT, "Admissions cancelled after their sale.", "cancelled"),
    Base("check_ins", COUNT, "Admissions scanned at the gate.", "scanned"),
    Base("face_value", MONEY, "List price of everything sold, before discounts.", "completed"),
    Base(
        "discounts",
        MONEY,
        "Reductions of the list price and of the order.",
        "completed",
        signed=True,
    ),
    Derived(
        "ticket_revenue",
        MONEY,
        "What was charged for tickets, add-ons and donations.",
        "completed",
        plus=("face_value",),
        minus=("discounts",),
    ),
    Base("buyer_fees", MONEY, "Fees charged to buyers on top of the price.", "completed"),
    Base("tax", MONEY, "Tax charged to buyers on top of the price.", "completed"),
    Derived(
        "gross_revenue",
        MONEY,
        "What buyers were charged.",
        "completed",
        plus=("face_value", "buyer_fees", "tax"),
        minus=("discounts",),
    ),
    Base(
        "sale_reversals",
        MONEY,
        "Value un-sold by cancellation, less fees retained.",
        "cancelled",
        signed=True,
    ),
    Derived(
        "net_sales",
        MONEY,
        "Gross revenue less sale reversals.",
        "each of its own day",
        plus=("face_value", "buyer_fees", "tax"),
        minus=("discounts", "sale_reversals"),
    ),
    Base("payments", MONEY, "Money received from buyers.", "confirmed"),
    Base("payments_count", COUNT, "Payments confirmed.", "confirmed"),
    Base("refunds", MONEY, "Money returned to buyers.", "succeeded"),
    Base("refunds_count", COUNT, "Refunds succeeded.", "succeeded"),
    Base(
        "chargebacks",
        MONEY,
        "Disputed money withdrawn by the bank, less what it reinstated.",
        "withdrawn or reinstated",
        signed=True,
    ),
    Derived(
        "net_collected",
        MONEY,
        "Payments less refunds and chargebacks.",
        "each of its own day",
        plus=("payments",),
        minus=("refunds", "chargebacks"),
    ),
    Base(
        "platform_fees",
        MONEY,
        "The platform's fees, less what refunds return of them.",
        "completed; returned on the refund's day",
        signed=True,
    ),
    Base(
        "processing_fees",
        MONEY,
        "Payment providers' fees for payments and disputes, less what refunds return of them.",
        "confirmed or withdrawn; returned on the refund's day",
        signed=True,
    ),
    Derived(
        "organizer_net",
        MONEY,
        "What is left to the organizer: net collected less platform and processing fees.",
        "each of its own day",
        plus=("payments",),
        minus=("refunds", "chargebacks", "platform_fees", "processing_fees"),
    ),
)

METRICS: dict[str, Stored] = {metric.name: metric for metric in _METRICS}

RATIOS: dict[str, Ratio] = {
    ratio.name: ratio
    for ratio in (
        Ratio("aov", "Average order value of paid orders.", "gross_revenue", "paid_orders"),
        Ratio("request_conversion", "Share of requests completed.", "orders", "requests"),
        Ratio("checkout_conversion", "Orders per checkout started.", "orders", "checkouts"),
        Ratio("visitor_conversion", "Orders per visitor.", "orders", "visitors"),
        Ratio(
            "check_in_rate", "Share of tickets sold that were scanned.", "check_ins", "tickets_sold"
        ),
    )
}

BASE_MEASURES: tuple[str, ...] = tuple(m.name for m in _METRICS if isinstance(m, Base))
"""The measure columns of the ledger, in order."""


def terms(metric: Stored) -> dict[str, int]:
    """The base measures a metric is made of, each with its sign; none of a distinct count."""
    match metric:
        case Base():
            return {metric.name: 1}
        case Derived():
            return dict.fromkeys(metric.plus, 1) | dict.fromkeys(metric.minus, -1)
        case Distinct():
            return {}


def may_be_negative(metric: Stored) -> bool:
    """Whether a value below zero is possible; never for a count."""
    match metric:
        case Base():
            return metric.signed
        case Derived():
            signed = any(may_be_negative(METRICS[name]) for name in terms(metric))
            return metric.unit == MONEY and (signed or bool(metric.minus))
        case Distinct():
            return False
