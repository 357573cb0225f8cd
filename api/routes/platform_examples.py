"""Examples of what is answered about trust and operation, for OpenAPI.

Belongs here: the examples. Does not belong here: endpoints (``api.routes.platform``). A test
compares them with real answers.
"""

from __future__ import annotations

from typing import Any

from api.answers import DEFINITIONS, money

_META: dict[str, Any] = {
    "time_zone": "Africa/Nairobi",
    "currencies": {},
    "data_version": "631682ef4125e1db",
    "complete_through": None,
    "published_at": None,
    "definitions": DEFINITIONS,
}

_WORKERS: dict[str, Any] = {
    "time_zone": "Africa/Nairobi",
    "as_of": "2026-03-10T08:00:00Z",
    "workers": 2,
}

DEFINITIONS_EXAMPLE: dict[str, Any] = {
    "data": {
        "metrics": [
            {
                "name": "refunds",
                "unit": "money",
                "definition": "Money returned to buyers.",
                "day": "succeeded",
                "formula": "sum(refunds)",
                "is_additive": True,
                "datasets": ["daily_metrics", "daily_payments", "event_summary"],
            }
        ],
        "ratios": [
            {
                "name": "aov",
                "definition": "Average order value: gross revenue per paid order.",
                "numerator": "gross_revenue",
                "denominator": "paid_orders",
            }
        ],
    },
    "meta": {"data_version": "b3a1f08a52d9c7e4"},
}

FRESHNESS: dict[str, Any] = {
    "data": {
        "facts": [
            {
                "fact": "orders",
                "newest_day": "2026-03-10",
                "ingested_until": "2026-03-10T08:00:00Z",
                "late_days_waiting": 0,
            }
        ],
        "datasets": [
            {
                "dataset": "daily_metrics",
                "newest_partition": "2026-03-10",
                "complete_through": "2026-03-09",
                "published_at": "2026-03-10T08:00:12Z",
                "source_watermark": "2026-03-10T08:00:00Z",
                "gaps": [],
                "held_back": [],
            }
        ],
        "held_back": [],
        "quarantined": [],
        "waiting": [],
        "period_states": {"daily_metrics": {"open": 1, "provisional": 3, "final": 394}},
        "lateness": {
            "within": {"1 h": 9_120, "1 d": 410},
            "p995_seconds": 259_200,
            "final_after_seconds": 259_200,
        },
    },
    "meta": _META,
}

RESTATEMENTS: dict[str, Any] = {
    "data": [
        {
            "restatement_id": "41",
            "dataset": "daily_metrics",
            "partition_key": "2026-03-02",
            "organizer_id": "12",
            "event_id": "1201",
            "currency": "KES",
            "scope": {},
            "metric": "refunds",
            "old_value": money(0, "KES"),
            "new_value": money(12_300, "KES"),
            "cause": "late_data",
            "was_final": False,
            "restated_at": "2026-03-10T08:00:12Z",
        }
    ],
    "meta": _META | {"currencies": {"KES": 2}, "next_before": None},
}

RECONCILIATION: dict[str, Any] = {
    "data": {
        "differing_partitions": 0,
        "is_proven": True,
        "hops": [
            {
                "dataset": "daily_metrics",
                "hop": "movements -> daily_metrics",
                "partitions": 397,
                "proven": 397,
                "cells": 366_730,
                "at": "2026-03-10T08:00:12Z",
                "differences": [],
                "behind": 0,
            }
        ],
    },
    "meta": _META,
}

CACHE_STATS: dict[str, Any] = {
    "data": {
        "worker": {
            "hits": 1_940,
            "held": 0,
            "misses": 60,
            "shared": 12,
            "garbage": 0,
            "stored": 60,
            "not_stored": 0,
            "bypassed": 31,
        },
        "hit_ratio": 0.97,
        "seconds": 300,
        "redis": "ok",
        "redis_used_bytes": 950_776,
        "redis_max_bytes": 268_435_456,
        "redis_keys": 64,
    },
    "meta": _WORKERS,
}

CACHE_CLEARED: dict[str, Any] = {"data": {"deleted": 60}, "meta": _WORKERS}

INDEXES: dict[str, Any] = {
    "data": {
        "indexes": [
            {
                "table_name": "daily_metrics",
                "index_name": "daily_metrics_pkey",
                "scans": 800,
                "last_used_at": "2026-03-10T08:00:12Z",
                "bytes": 1_794_048,
                "is_primary_key": True,
                "is_unique": True,
                "definition": "CREATE UNIQUE INDEX daily_metrics_pkey ON reporting.daily_metrics …",
                "is_unused": False,
            }
        ],
        "tables": [
            {
                "table_name": "daily_metrics",
                "rows": 35_933,
                "bytes": 9_437_184,
                "sequential_scans": 3,
                "rows_read_sequentially": 107_799,
                "index_scans": 812,
                "since": None,
                "hint": None,
            }
        ],
    },
    "meta": {"time_zone": "Africa/Nairobi"},
}
