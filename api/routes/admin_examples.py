"""Examples of what administrators are answered, for OpenAPI; tests compare them with real answers.

Belongs here: the examples, and the metrics that their answers have. Does not belong here: endpoints
(``api.routes.admin_analytics``).
"""

from __future__ import annotations

from typing import Any

from api.answers import DEFINITIONS, average, money, ratio
from metrics.registry import METRICS, MONEY, RATIOS, Distinct

WATERFALL = (
    "orders",
    "paid_orders",
    "tickets_sold",
    "face_value",
    "discounts",
    "ticket_revenue",
    "buyer_fees",
    "tax",
    "gross_revenue",
    "sale_reversals",
    "net_sales",
    "payments",
    "refunds",
    "chargebacks",
    "net_collected",
    "platform_fees",
    "processing_fees",
    "organizer_net",
)
"""From list price to what is left to organizers, with the counts that averages need."""
OUTCOMES = ("requests", "orders", "orders_expired", "orders_cancelled", "checkouts", "visitors")
ADDITIVE = tuple(name for name, metric in METRICS.items() if not isinstance(metric, Distinct))
"""Metrics that can be added up."""


def _example_totals(currency: str = "KES") -> dict[str, object]:
    values: dict[str, object] = {
        name: money(125_000, currency) if METRICS[name].unit == MONEY else 12 for name in ADDITIVE
    }
    return values | {
        name: average(125_000, 12, currency)
        if METRICS[found.numerator].unit == MONEY
        else ratio(12, 12)
        for name, found in RATIOS.items()
    }


_META: dict[str, Any] = {
    "time_zone": "Africa/Nairobi",
    "currencies": {"KES": 2},
    "data_version": "0f4c1d2b3a495867",
    "complete_through": "2026-03-09",
    "published_at": "2026-03-10T05:10:00Z",
    "definitions": DEFINITIONS,
    "granularity": "daily",
    "from": "2026-02-08",
    "to": "2026-03-09",
    "is_complete": True,
    "missing": [],
    "restated": ["2026-02-17"],
    "held_back": [],
}
_LEADER = {
    "rank": 1,
    "currency": "KES",
    "gross_revenue": money(125_000, "KES"),
    "net_sales": money(120_000, "KES"),
    "net_collected": money(118_000, "KES"),
    "orders": 12,
    "tickets_sold": 20,
}
OVERVIEW = {
    "data": {
        "range": {"from": "2026-02-08", "to": "2026-03-09", "days": 30},
        "previous_range": {"from": "2026-01-09", "to": "2026-02-07", "missing": []},
        "currencies": [
            {
                "currency": "KES",
                "events_with_sales": 4,
                "organizers_with_sales": 2,
                "totals": _example_totals(),
                "previous": _example_totals(),
            }
        ],
        "events": {"total": 9, "upcoming": 3, "by_status": {"on_sale": 3, "completed": 6}},
        "top_organizers": [{"organizer_id": "12", "organizer_name": "Savanna", **_LEADER}],
        "top_events": [{"event_id": "120", "event_name": "Jazz", **_LEADER}],
    },
    "meta": _META,
}
_OUTCOMES = {
    "requests": 20,
    "orders": 15,
    "orders_expired": 4,
    "orders_cancelled": 1,
    "checkouts": 25,
    "visitors": 300,
    "request_conversion": ratio(15, 20),
    "checkout_conversion": ratio(15, 25),
    "visitor_conversion": ratio(15, 300),
}
_POINT = {
    "period": "2026-02-08",
    "start": "2026-02-08",
    "state": "final",
    "is_complete": True,
    "is_restated": False,
}
REQUESTS = {
    "data": {"totals": _OUTCOMES, "points": [_POINT | _OUTCOMES]},
    "meta": _META | {"currencies": {}},
}
_WATERFALL = {
    name: money(125_000, "KES") if METRICS[name].unit == MONEY else 12 for name in WATERFALL
} | {"aov": average(125_000, 12, "KES")}
REVENUE = {
    "data": [
        {
            "rank": 1,
            "currency": "KES",
            "totals": _WATERFALL,
            "points": [_POINT | _WATERFALL],
        }
    ],
    "meta": _META | {"group_by": "none", "series": 45, "next_offset": 20},
}
