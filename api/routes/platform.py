"""For administrators: how fresh and how proven the numbers are, and how the API itself does.

Belongs here: freshness, restatements, reconciliation, definitions, cache and indexes. Does not
belong here: numbers of the platform's business.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query
from pydantic import Field
from pydantic_core import to_json
from starlette.responses import Response

from api.answers import Answer, meta, record
from api.calls import Caller, Calls, Parameters, Parts, Read
from api.policy import Access
from api.problems import unavailable
from api.redis_link import NoAnswerError
from api.routes import platform_examples as examples
from api.routes.health import method_hint
from metrics.datasets import DATASETS
from metrics.registry import METRICS, RATIOS, Distinct
from warehouse.freshness import read_freshness
from warehouse.periods import bucket_name, read_states
from warehouse.proofs import last_proofs, prove_now

if TYPE_CHECKING:
    from api.app import Services

_LOG = logging.getLogger("boxoffice.api")
_ALL = tuple(DATASETS)
_NEWEST = 2**63 - 1
_BIG_TABLE_ROWS = 10_000
router = Calls("/api/v1", "Trust and operation")

# --- Trust --------------------------------------------------------------------------------------


@router.answer(
    "/definitions",
    access=Access.ORGANIZER_ANALYTICS,
    reads=(),
    shows=dict[str, list[dict[str, Any]]],
    example=examples.DEFINITIONS_EXAMPLE,
)
async def definitions() -> Answer:
    """Every metric and ratio: meaning, unit, formula, and the day a value is attributed to."""
    found = [
        {
            "name": metric.name,
            "unit": metric.unit,
            "definition": metric.definition,
            "day": metric.day,
            "formula": metric.formula,
            "is_additive": not isinstance(metric, Distinct),
            "datasets": [name for name, d in DATASETS.items() if metric.name in d.metric_names],
        }
        for metric in METRICS.values()
    ]
    ratios = [
        {
            "name": ratio.name,
            "definition": ratio.definition,
            "numerator": ratio.numerator,
            "denominator": ratio.denominator,
        }
        for ratio in RATIOS.values()
    ]
    data = {"metrics": found, "ratios": ratios}
    version = blake2b(to_json(data), digest_size=8).hexdigest()
    return Answer(data, {"data_version": version}, table=lambda: found)


@router.action(
    "/admin/freshness",
    method="GET",
    access=Access.TRUST,
    reads=_ALL,
    rate="heavy",
    shows=dict[str, Any],
    example=examples.FRESHNESS,
    tabular=True,
)
async def freshness(read: Read, parts: Parts) -> Answer:
    """How far the numbers go: read, published, complete, held back, waiting and unusable."""
    settings = parts.settings

    def ask(connection: Any) -> tuple[Any, Any]:
        now = datetime.now(UTC)
        return (
            read_freshness(connection, settings.time_zone),
            read_states(connection, settings.time_zone, settings.final_after_days, now),
        )

    fresh, states = await parts.database.in_thread(ask)
    await read.batch()
    data = asdict(fresh) | {
        "period_states": states.counts,
        "lateness": {
            "within": {bucket_name(edge): n for edge, n in sorted(states.histogram.items())},
            "p995_seconds": states.p995_seconds,
            "final_after_seconds": int(states.final_after.total_seconds()),
        },
    }
    return Answer(data, meta(read), table=lambda: data["datasets"])


class RestatementQuery(Parameters):
    """Which restatements."""

    from_: date | None = Field(None, alias="from", description="First day of the periods.")
    to: date | None = Field(None, description="Last first day of the periods.")
    dataset: Literal[_ALL] | None = None  # type: ignore[valid-type]
    organizer: int | None = Field(None, ge=1, le=_NEWEST)
    event: int | None = Field(None, ge=1, le=_NEWEST)
    metric: Literal[tuple(METRICS)] | None = None  # type: ignore[valid-type]
    limit: int = Field(100, ge=1, le=1000)
    before: int = Field(
        _NEWEST, ge=1, le=_NEWEST, description="Go on below `next_before` of the page before."
    )


@router.answer(
    "/admin/restatements",
    access=Access.TRUST,
    reads=_ALL,
    rate="heavy",
    shows=list[dict[str, Any]],
    example=examples.RESTATEMENTS,
)
async def restatements(read: Read, query: Annotated[RestatementQuery, Query()]) -> Answer:
    """Published values of closed periods that changed: old, new and why; the newest first."""
    rows = await read.rows(
        "restatements",
        {
            "before": query.before,
            "dataset": query.dataset,
            "first_key": query.from_ and query.from_.isoformat(),
            "last_key": query.to and query.to.isoformat(),
            "organizer": query.organizer,
            "event_id": query.event,
            "metric": query.metric,
            "limit": query.limit,
        },
        only=True,
    )
    found = []
    for row in rows:
        shown = record(row)
        for name in ("old_value", "new_value"):
            # As the metric is shown everywhere else: money with its decimals.
            value = record({row["metric"]: row[name], "currency": row["currency"]})
            shown[name] = value[row["metric"]]
        found.append(shown)
    page = str(rows[-1]["restatement_id"]) if len(rows) == query.limit else None
    currencies = {row["currency"] for row in rows}
    more = {"next_before": page}
    return Answer(found, meta(read, currencies=currencies, more=more), table=lambda: found)


class ReconciliationQuery(Parameters):
    """Which proof."""

    now: bool = Field(
        False, description="Also compare, now, what readers see with what was published."
    )


@router.action(
    "/admin/reconciliation",
    method="GET",
    access=Access.TRUST,
    reads=_ALL,
    rate="heavy",
    shows=dict[str, Any],
    example=examples.RECONCILIATION,
    tabular=True,
)
async def reconciliation(
    read: Read, parts: Parts, query: Annotated[ReconciliationQuery, Query()]
) -> Answer:
    """Whether every layer says the same: the last comparison at each hop, and differences."""

    def ask(connection: Any) -> list[Any]:
        proofs = last_proofs(connection)
        return proofs + (prove_now(connection, datetime.now(UTC)) if query.now else [])

    proofs = await parts.database.in_thread(ask)
    await read.batch()
    found = [asdict(proof) for proof in proofs]
    differing = sum(proof.partitions - proof.proven for proof in proofs)
    is_proven = bool(proofs) and differing == 0
    data = {"differing_partitions": differing, "is_proven": is_proven, "hops": found}
    return Answer(data, meta(read), table=lambda: found)


# --- Operation ----------------------------------------------------------------------------------


@router.action(
    "/admin/cache/stats",
    method="GET",
    access=Access.OPERATIONS,
    shows=dict[str, Any],
    example=examples.CACHE_STATS,
)
async def cache_stats(parts: Parts) -> Answer:
    """What the cache did in this worker since it started, and what Redis holds."""
    counts = dict(parts.cache.counts)
    asked = counts["hits"] + counts["misses"] + counts["garbage"]
    data: dict[str, Any] = {
        "worker": counts,
        "hit_ratio": round(counts["hits"] / asked, 4) if asked else None,
        "seconds": parts.settings.api_cache_seconds,
        "redis": "ok",
    }
    try:
        memory = await parts.link.call("INFO", "memory")
        data["redis_used_bytes"] = memory["used_memory"]
        data["redis_max_bytes"] = memory["maxmemory"]
        data["redis_keys"] = await parts.link.call("DBSIZE")
    except NoAnswerError:
        data["redis"] = "does not answer"
    return Answer(data, _now(parts))


@router.action(
    "/admin/cache/clear",
    access=Access.OPERATIONS,
    rate="heavy",
    shows=dict[str, int],
    example=examples.CACHE_CLEARED,
)
async def clear_cache(parts: Parts, caller: Caller) -> Answer:
    """Delete every cached answer. Never needed for right answers; rate limits stay."""
    try:
        deleted = await parts.cache.clear()
    except NoAnswerError:
        raise unavailable("Redis does not answer; nothing can be cleared.") from None
    _LOG.warning("cache cleared by %s: %d answers", caller.role.value, deleted)
    return Answer({"deleted": deleted}, _now(parts))


def _now(parts: Services) -> dict[str, Any]:
    return {
        "time_zone": parts.settings.time_zone,
        "as_of": datetime.now(UTC),
        "workers": parts.settings.api_workers,
    }


@router.get("/admin/cache/clear", include_in_schema=False, response_model=None)
async def clear_cache_by_get() -> Response:
    """Refuse: a GET must not change anything."""
    raise method_hint("A GET changes nothing here. Use POST /api/v1/admin/cache/clear.", "POST")


@router.action(
    "/admin/database/indexes",
    method="GET",
    access=Access.OPERATIONS,
    rate="heavy",
    shows=dict[str, Any],
    example=examples.INDEXES,
    tabular=True,
)
async def database_indexes(read: Read) -> Answer:
    """Indexes of the finished tables: use, size, which nobody used, and what may be missing."""
    indexes = await read.rows("indexes")
    tables = await read.rows("table_scans")
    for index in indexes:
        index["is_unused"] = index["scans"] == 0 and not index["is_primary_key"]
    for table in tables:
        table["hint"] = _hint(table)
    data = {"indexes": indexes, "tables": tables}
    return Answer(data, {"time_zone": read.time_zone}, table=lambda: indexes)


def _hint(table: dict[str, Any]) -> str | None:
    scans, read_rows = table["sequential_scans"], table["rows_read_sequentially"]
    if table["rows"] < _BIG_TABLE_ROWS or scans <= table["index_scans"]:
        return None
    return (
        f"read as a whole {scans} times, {read_rows // max(1, scans)} rows each, and by an index "
        f"{table['index_scans']} times: a filter that is asked often has no index"
    )
