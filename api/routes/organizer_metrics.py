"""Which metrics the organizers' answers have.

Belongs here: lists of names from the registry, and the steps of the waterfall. Does not belong
here: what a metric means (``metrics.registry``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

COUNTS = ("orders", "paid_orders", "tickets_sold", "tickets_cancelled", "check_ins")
FLOW = (
    "gross_revenue",
    "sale_reversals",
    "net_sales",
    "payments",
    "refunds",
    "net_collected",
    "organizer_net",
)
SHOWN = COUNTS + FLOW
"""Of dashboards and trends."""

LEADING = ("orders", "tickets_sold", "gross_revenue", "net_sales", "organizer_net")
"""Of single events in trends, in comparison."""

UPCOMING = ("tickets_sold", "tickets_cancelled", "gross_revenue", "net_sales")
"""Of events that are still to come."""

SALES = (
    "orders",
    "tickets_sold",
    "tickets_cancelled",
    "gross_revenue",
    "sale_reversals",
    "net_sales",
)
TYPE_SALES = ("tickets_sold", "tickets_cancelled", "ticket_revenue", "sale_reversals")
"""Of ticket types: discounts of whole orders, fees and tax belong to none."""

Step = Literal["start", "plus", "minus", "total"]
WATERFALL: tuple[tuple[str, Step], ...] = (
    ("face_value", "start"),
    ("discounts", "minus"),
    ("buyer_fees", "plus"),
    ("tax", "plus"),
    ("gross_revenue", "total"),
    ("sale_reversals", "minus"),
    ("net_sales", "total"),
    ("payments_beyond_sales", "plus"),
    ("refunds_beyond_reversals", "minus"),
    ("chargebacks", "minus"),
    ("net_collected", "total"),
    ("platform_fees", "minus"),
    ("processing_fees", "minus"),
    ("organizer_net", "total"),
)
"""Every total is the one before it, with the steps between them."""

BRIDGES: Mapping[str, tuple[str, str, str]] = {
    "payments_beyond_sales": (
        "payments",
        "gross_revenue",
        "Payments less gross revenue: what was paid on other days than it was sold.",
    ),
    "refunds_beyond_reversals": (
        "refunds",
        "sale_reversals",
        "Refunds less sale reversals: what was returned on other days than it was un-sold.",
    ),
}
"""Steps that are the difference of two metrics, from what was sold to what was paid."""

OVERVIEW = (
    *(name for name, _ in WATERFALL if name not in BRIDGES),
    *("payments", "payments_count", "refunds", "refunds_count"),
    *("orders", "paid_orders", "free_orders", "requests", "checkouts", "visitors"),
    *("tickets_sold", "tickets_cancelled", "check_ins"),
)
RETURNED = ("refunds", "refunds_count", "chargebacks", "sale_reversals", "tickets_cancelled")
