"""Examples of what organizers are answered, for OpenAPI; tests compare them with real answers.

Belongs here: the examples. Does not belong here: endpoints (``organizer_*``), or which metrics
their answers have (``organizer_metrics``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.answers import DEFINITIONS, average, money, ratio
from api.routes.organizer_metrics import (
    BRIDGES,
    COUNTS,
    FLOW,
    LEADING,
    OVERVIEW,
    RETURNED,
    SALES,
    SHOWN,
    UPCOMING,
    WATERFALL,
)
from metrics.datasets import DAILY_PAYMENTS, EVENT_SUMMARY
from metrics.registry import METRICS, MONEY, RATIOS

_PUBLISHED_AT = "2026-03-10T05:10:00Z"
_AOV = average(1_800_000, 12, "KES")


def _meta(*, has_range: bool = True) -> dict[str, Any]:
    about: dict[str, Any] = {
        "time_zone": "Africa/Nairobi",
        "currencies": {"KES": 2},
        "data_version": "0f4c1d2b3a495867",
        "complete_through": "2026-03-09",
        "published_at": _PUBLISHED_AT,
        "definitions": DEFINITIONS,
    }
    if not has_range:
        return about
    return about | {
        "granularity": "daily",
        "from": "2026-03-09",
        "to": "2026-03-11",
        "is_complete": False,
        "missing": ["2026-03-11"],
        "restated": [],
        "held_back": [],
    }


def _amount(name: str, count: int = 12) -> Any:
    return money(count * 150_000, "KES") if METRICS[name].unit == MONEY else count


def _sums(names: Iterable[str], count: int = 12) -> dict[str, Any]:
    return {name: _amount(name, count) for name in names}


def _ratios() -> dict[str, Any]:
    return {name: ratio(12, 16) for name in RATIOS} | {"aov": _AOV}


def _comparisons(names: Iterable[str]) -> dict[str, Any]:
    found = {
        name: {
            "current": _amount(name, 12),
            "earlier": _amount(name, 8),
            "change": _amount(name, 4),
            "change_ratio": "0.500000",
        }
        for name in names
    }
    return {"previous_period": found, "year_before": found}


def _compared(first: str, last: str, day: str) -> dict[str, Any]:
    return {
        "from": first,
        "to": last,
        "days": 3,
        "days_compared": 1,
        "current_days": [{"from": "2026-03-09", "to": "2026-03-09"}],
        "earlier_days": [{"from": day, "to": day}],
    }


_COMPARED = {
    "previous_period": _compared("2026-03-06", "2026-03-08", "2026-03-06"),
    "year_before": _compared("2025-03-10", "2025-03-12", "2025-03-10"),
}
_AS_OF = {
    "day": "2026-03-10",
    "state": "open",
    "is_complete": False,
    "complete_through": "2026-03-09",
    "published_at": _PUBLISHED_AT,
}
_EVENT: dict[str, Any] = {
    "event_id": "120",
    "organizer_id": "12",
    "organizer_name": "Pwani Talks",
    "event_name": "Rusinga Festival",
    "category": "festival",
    "venue": "National Theatre",
    "event_time_zone": "Africa/Nairobi",
    "currency": "KES",
    "status": "on_sale",
    "capacity": 400,
    "on_sale_at": "2026-03-09T07:00:00Z",
    "starts_at": "2026-06-20T10:00:00Z",
    "ends_at": "2026-06-22T00:00:00Z",
    "first_sale_date": "2026-03-09",
    "last_sale_date": "2026-03-10",
}


def _point(name: str, values: Mapping[str, Any], state: str = "provisional") -> dict[str, Any]:
    return {
        "period": name,
        "start": name,
        "state": state,
        "is_complete": state in ("provisional", "final"),
        "is_restated": False,
        **values,
    }


def _points(names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        _point("2026-03-09", _sums(names, 8)),
        _point("2026-03-10", _sums(names, 4), "open"),
        _point("2026-03-11", dict.fromkeys(names), "not_loaded"),
    ]


_SERIES = [{"currency": "KES", "totals": _sums(SHOWN), "points": _points(SHOWN)}]

DASHBOARD: dict[str, Any] = {
    "data": {
        "organizer": {"organizer_id": "12", "organizer_name": "Pwani Talks"},
        "as_of": _AS_OF,
        "compared": _COMPARED,
        "events": {"total": 3, "upcoming": 2, "by_status": {"completed": 1, "on_sale": 2}},
        "revenue": [
            {
                "currency": "KES",
                "metrics": _sums(FLOW),
                "aov": _AOV,
                "comparison": _comparisons(FLOW),
            }
        ],
        "tickets": {"metrics": _sums(COUNTS), "comparison": _comparisons(COUNTS)},
        "upcoming_events": [
            {
                name: _EVENT[name]
                for name in ("event_id", "event_name", "venue", "event_time_zone", "currency")
            }
            | {name: _EVENT[name] for name in ("status", "capacity", "on_sale_at", "starts_at")}
            | _sums(UPCOMING, 60)
            | {"sell_through": ratio(60, 400)}
        ],
        "recent_sales": _SERIES,
    },
    "meta": _meta(),
}

_TOTALS = {"metrics": _sums(SHOWN), "aov": _AOV}
TRENDS: dict[str, Any] = {
    "data": {
        "organizer_id": "12",
        "as_of": _AS_OF,
        "compared": _COMPARED,
        "totals": [{"currency": "KES", **_TOTALS, "comparison": _comparisons(SHOWN)}],
        "events": [
            {
                "event_id": "120",
                "event_name": "Rusinga Festival",
                "status": "on_sale",
                "currency": "KES",
                **_TOTALS,
                "comparison": _comparisons(LEADING),
            }
        ],
        "series": _SERIES,
    },
    "meta": _meta(),
}

_SUMMARY = {
    "event": _EVENT,
    "metrics": _sums(EVENT_SUMMARY.metric_names),
    "ratios": _ratios(),
    "sell_through": ratio(12, 400),
}
SUMMARY: dict[str, Any] = {"data": _SUMMARY, "meta": _meta(has_range=False)}

_AT_EQUAL_TIME = {
    "from": "2026-03-09",
    "to": "2026-03-09",
    "is_complete": True,
    "missing": [],
    "metrics": _sums(SHOWN, 8),
}
COMPARE: dict[str, Any] = {
    "data": {
        "days_on_sale_compared": 1,
        "events": [_SUMMARY | {"at_equal_time": _AT_EQUAL_TIME}],
    },
    "meta": _meta(has_range=False),
}


def _chart_points() -> list[dict[str, Any]]:
    so_far: list[tuple[dict[str, Any], bool]] = [
        (_sums(SALES, 8), True),
        (_sums(SALES, 12), True),
        (dict.fromkeys(SALES), False),
    ]
    return [
        point | {"cumulative": values, "is_cumulative_complete": whole}
        for point, (values, whole) in zip(_points(SALES), so_far, strict=True)
    ]


SALES_CHART: dict[str, Any] = {
    "data": {
        "event": _EVENT,
        "by": "total",
        "series": [
            {
                "currency": "KES",
                "totals": _sums(SALES),
                "before": _sums(SALES, 0),
                "points": _chart_points(),
            }
        ],
    },
    "meta": _meta(),
}


def _steps() -> list[dict[str, Any]]:
    return [
        {
            "step": name,
            "kind": kind,
            "amount": money(0 if name in BRIDGES else 1_800_000, "KES"),
            "definition": BRIDGES[name][2] if name in BRIDGES else METRICS[name].definition,
        }
        for name, kind in WATERFALL
    ]


REVENUE_OVERVIEW: dict[str, Any] = {
    "data": {
        "event": _EVENT,
        "currencies": [
            {
                "currency": "KES",
                "waterfall": _steps(),
                "payment_methods": [
                    {
                        "provider": "MPESA",
                        "instrument": "mpesa",
                        **_sums(DAILY_PAYMENTS.metric_names),
                        "share_of_payments": "1.000000",
                    }
                ],
                "refunds": _sums(RETURNED, 1),
                "counts": _sums(n for n in OVERVIEW if METRICS[n].unit != MONEY),
                "ratios": _ratios(),
            }
        ],
    },
    "meta": _meta(),
}

EXPLAIN: dict[str, Any] = {
    "data": {
        "metric": {
            "name": "refunds",
            "unit": "money",
            "definition": METRICS["refunds"].definition,
            "day": METRICS["refunds"].day,
            "formula": METRICS["refunds"].formula,
            "is_additive": True,
        },
        "cell": {
            "dataset": "daily_metrics",
            "event_id": "120",
            "organizer_id": "12",
            "currency": "KES",
            "scope": {},
            "period": "2026-03-09",
            "from": "2026-03-09",
            "to": "2026-03-09",
        },
        "value": money(12_300, "KES"),
        "rows": 1,
        "state": "provisional",
        "parts": [{"metric": "refunds", "sign": 1, "value": money(12_300, "KES")}],
        "days": None,
        "version": {
            "publication_id": "57",
            "data_version": "8b5feda416260d97",
            "published_at": _PUBLISHED_AT,
            "is_complete": True,
            "final_at": None,
            "checked_at": _PUBLISHED_AT,
            "source_watermark": "2026-03-10T05:08:00Z",
            "lake_snapshot": 210,
            "input_version": 210,
            "run_id": "f788ecc5-1724-435e-a1c7-3d2c78d32993",
            "code_version": "8f36cf558830",
        },
        "versions": [
            {
                "publication_id": "57",
                "data_version": "8b5feda416260d97",
                "is_complete": True,
                "published_at": _PUBLISHED_AT,
            }
        ],
        "versions_total": 2,
        "audits": [
            {
                "dataset": "daily_metrics",
                "partitions": 1,
                "passed": 1,
                "audited_at": _PUBLISHED_AT,
                "held_back": [],
            }
        ],
        "restatements": [
            {
                "restatement_id": "4",
                "publication_id": "57",
                "replaced_publication_id": "41",
                "scope": {},
                "old_value": money(0, "KES"),
                "new_value": money(12_300, "KES"),
                "cause": "late_refund",
                "was_final": False,
                "run_id": "f788ecc5-1724-435e-a1c7-3d2c78d32993",
                "restated_at": _PUBLISHED_AT,
                "movements": [],
            }
        ],
        "movements_of_restatements_are_cut": False,
        "notes": [],
    },
    "meta": _meta(has_range=False),
}
