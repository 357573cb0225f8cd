"""The number passport: what the warehouse knows of one published value.

Belongs here: finding a value by dataset, event, metric and period, with its version, parts, audits,
restatements and the movements that caused them. Does not belong here: the list of all movements,
which is in the lake (``boxoffice explain``).

Everything is read in one snapshot of Postgres, in which the caller sees what is theirs. What was
read from the source counts rows of all organizers, and is shown to those who see every organizer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import Field

from api.answers import Answer, meta, money, record
from api.calls import Caller, Read
from api.database import Reading, Row
from api.periods import NOT_LOADED, Day, Granularity, Periods
from api.policy import Access
from api.problems import Kind, invalid
from api.routes import organizer_examples
from api.routes.organizer_shared import (
    LARGEST,
    EventNumber,
    OrganizerQuery,
    calls,
    event_of,
    named,
)
from api.statements import statement
from metrics.calendar import month_start, next_month, parse_date, week_start
from metrics.datasets import DAILY_METRICS, DATASETS, Dataset
from metrics.money import MoneyError, exponent
from metrics.registry import METRICS, MONEY, Distinct, Stored, terms
from warehouse.cells import ALL
from warehouse.periods import state
from warehouse.statements import statement as warehouse_statement

router = calls()
_DAILY = DAILY_METRICS.name
_SHOWN_VERSIONS, _SHOWN_MOVEMENTS = 20, 500
_CODE = r"^[A-Za-z0-9_]{1,40}$"
_GRANULARITIES: dict[str, Granularity] = {"day": "daily", "week": "weekly", "month": "monthly"}


class CellQuery(OrganizerQuery):
    """Which value of the event."""

    day: Day | None = Field(None, description="Any day of the period; not for event_summary.")
    currency: str | None = Field(
        None, pattern=r"^[A-Z]{3}$", description="The event's own where it is not given."
    )
    provider: str | None = Field(None, pattern=_CODE, description="Of daily_payments.")
    instrument: str | None = Field(None, pattern=_CODE, description="Of daily_payments.")
    ticket_type: int | None = Field(None, ge=1, le=LARGEST, description="Of daily_ticket_types.")

    @property
    def scope(self) -> dict[str, str | int]:
        """Further columns of the grain, as far as they are given."""
        given = {
            "provider": self.provider,
            "instrument": self.instrument,
            "ticket_type_id": self.ticket_type,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class _Asked:
    """A value that may exist.

    Attributes:
        key: of its partition.
        first: first day it covers.
        last: last day it covers.
    """

    dataset: Dataset
    metric: Stored
    event: int
    currency: str
    scope: dict[str, str | int]
    key: str
    first: date
    last: date

    @property
    def parameters(self) -> dict[str, Any]:
        """For the statements of a cell."""
        return {
            "dataset": self.dataset.name,
            "event": self.event,
            "event_id": self.event,
            "currency": self.currency,
            "metric": self.metric.name,
            "partition_key": self.key,
            "key": self.key,
            "start": self.first,
            "first": self.first,
            "last": self.last,
            "first_key": self.first.isoformat(),
            "last_key": self.last.isoformat(),
        }


@router.answer(
    "/explain/{dataset}/{event}/{metric}",
    access=Access.ORGANIZER_ANALYTICS,
    reads=tuple(DATASETS),
    rate="heavy",
    cached="never",  # when something was last compared or read draws no new version
    shows=dict[str, Any],
    example=organizer_examples.EXPLAIN,
    tabular=False,
    problem_kinds=(Kind.NOT_FOUND,),
)
async def explain(
    read: Read,
    caller: Caller,
    dataset: Annotated[Literal[tuple(DATASETS)], Path(description="Finished table.")],  # type: ignore[valid-type]
    event: EventNumber,
    metric: Annotated[Literal[tuple(METRICS)], Path(description="Of the definitions.")],  # type: ignore[valid-type]
    query: Annotated[CellQuery, Query()],
) -> Answer:
    """The passport of one number.

    Its meaning and parts, the version it is read from, audits, how often it was restated, and the
    movements behind that.
    """
    found, stored = DATASETS[dataset], METRICS[metric]
    _check(found, stored, query)
    owned = {"events": [event], "organizer": named(caller, query.organizer)}
    [rows] = await read.batch((statement("organizer_events", metrics=()), owned))
    row = event_of(rows)
    asked = await _asked(read, found, stored, row, query)
    data = await _passport(read, asked, sees_all=caller.organizer_id is None)
    shelves = [await read.shelf(dataset)]
    return Answer(data, meta(read, shelves=shelves, currencies=[asked.currency]))


def _check(dataset: Dataset, metric: Stored, query: CellQuery) -> None:
    """Refuse what no value can be named by."""
    if metric.name not in dataset.metric_names:
        raise invalid("path.metric", f"{dataset.name} has {', '.join(dataset.metric_names)}")
    columns = {column.name for column in dataset.scope}
    for name in query.scope:
        if name not in columns:
            field = "ticket_type" if name == "ticket_type_id" else name
            raise invalid(f"query.{field}", f"{dataset.name} does not have it")
    if dataset.period != "all" and query.day is None:
        raise invalid("query.day", f"is needed: a day of the {dataset.period}", "missing")
    if dataset.period == "all" and query.day is not None:
        raise invalid("query.day", f"is too much: {dataset.name} is over all days")
    try:
        exponent(query.currency or "USD")
    except MoneyError as error:
        raise invalid("query.currency", str(error)) from None


async def _asked(
    read: Reading, dataset: Dataset, metric: Stored, row: Row, query: CellQuery
) -> _Asked:
    currency = query.currency or row["currency"]
    common = (dataset, metric, row["event_id"], currency, query.scope)
    if query.day is None:
        days = (await read.shelf(_DAILY)).partitions
        first, last = min(days, default=None), max(days, default=None)
        if first is None or last is None:
            return _Asked(*common, ALL, date.min, date.min)
        return _Asked(*common, ALL, parse_date(first), parse_date(last))
    match dataset.period:
        case "week":
            first_day = week_start(query.day)
            last_day = first_day + timedelta(days=6)
        case "month":
            first_day = month_start(query.day)
            last_day = next_month(first_day) - timedelta(days=1)
        case _:
            first_day = last_day = query.day
    return _Asked(*common, first_day.isoformat(), first_day, last_day)


async def _passport(read: Reading, asked: _Asked, *, sees_all: bool) -> dict[str, Any]:
    """All that is known of a value."""
    metric, dataset, given = asked.metric, asked.dataset, asked.parameters
    parts = tuple(name for name in terms(metric) if name in dataset.metric_names)
    column = "" if dataset.period == "all" else dataset.grain[0].name
    is_sum_of_days = dataset.period != "day"
    before = ["movements", *([_DAILY] if is_sum_of_days else [])]
    value, version, versions, restated, audits, days = await read.batch(
        (
            statement(
                "organizer_cell",
                dataset=dataset.name,
                metric=metric.name,
                terms=parts,
                column=column,
                scope=tuple(asked.scope),
            ),
            given | asked.scope,
        ),
        (statement("organizer_cell_version"), given),
        (statement("organizer_cell_versions"), given | {"limit": _SHOWN_VERSIONS}),
        (
            warehouse_statement("explain_restatements"),
            given | {"scope": json.dumps(asked.scope)},
        ),
        (statement("organizer_cell_audits"), given | {"before": before}),
        (statement("organizer_cell_days", metric=metric.name), given),
    )
    movements = await _movements(read, asked, restated)
    inputs = await _inputs(read, asked) if sees_all else None
    is_published = bool(version)
    amount = sum(row[metric.name] for row in value) if is_published else None
    data: dict[str, Any] = {
        "metric": _definition(metric),
        "cell": {
            "dataset": dataset.name,
            "event_id": str(asked.event),
            "organizer_id": str(value[0]["organizer_id"]) if value else None,
            "currency": asked.currency,
            "scope": {name: str(found) for name, found in asked.scope.items()},
            "period": _period(asked),
            "from": asked.first,
            "to": asked.last,
        },
        "value": _amount(asked, amount),
        "rows": sum(row["rows"] for row in value),
        "state": _state(version[0]) if is_published else NOT_LOADED,
        "parts": [
            {
                "metric": name,
                "sign": terms(metric)[name],
                "value": _amount(asked, sum(row[f"term_{name}"] for row in value), name),
            }
            for name in parts
            if is_published
        ],
        "days": _days(asked, days, amount) if is_sum_of_days and is_published else None,
        "version": _version(version[0]) if is_published else None,
        "versions": [record(row) for row in versions],
        "versions_total": version[0]["versions"] if is_published else 0,
        "audits": audits,
        "restatements": [_restatement(asked, row, movements) for row in restated],
        "movements_of_restatements_are_cut": len(movements) == _SHOWN_MOVEMENTS,
        "notes": _notes(asked, value, is_published=is_published),
    }
    if sees_all:
        data["inputs"] = inputs
        data["all_movements"] = {"kept_in": "lake", "command": _command(asked)}
    return data


async def _movements(read: Reading, asked: _Asked, restated: Sequence[Row]) -> list[Row]:
    if not restated:
        return []
    given = asked.parameters | {
        "publications": [row["publication_id"] for row in restated],
        "scope": json.dumps(asked.scope),
        "terms": list(terms(asked.metric)),
        "limit": _SHOWN_MOVEMENTS,
    }
    return await read.rows("organizer_cell_movements", given)


async def _inputs(read: Reading, asked: _Asked) -> list[Row]:
    return await read.rows("organizer_cell_inputs", asked.parameters)


def _definition(metric: Stored) -> dict[str, Any]:
    return {
        "name": metric.name,
        "unit": metric.unit,
        "definition": metric.definition,
        "day": metric.day,
        "formula": metric.formula,
        "is_additive": not isinstance(metric, Distinct),
    }


def _period(asked: _Asked) -> str:
    if asked.key == ALL:
        return ALL
    periods = Periods(_GRANULARITIES[asked.dataset.period], asked.first, asked.first)
    return periods.label(asked.first)


def _amount(asked: _Asked, value: int | None, name: str | None = None) -> Any:
    metric = METRICS[name or asked.metric.name]
    return money(value, asked.currency) if metric.unit == MONEY else value


def _state(version: Row) -> str:
    return state(is_complete=version["is_complete"], final_at=version["final_at"]).value


def _version(version: Row) -> dict[str, Any]:
    return record({name: value for name, value in version.items() if name != "versions"})


def _days(asked: _Asked, rows: Sequence[Row], amount: int | None) -> dict[str, Any] | None:
    """The days a rollup is the sum of, as they are published now; a distinct count has none."""
    if isinstance(asked.metric, Distinct) or amount is None:
        return None
    name = asked.metric.name
    total = sum(row[name] for row in rows)
    return {
        "sum": _amount(asked, total),
        "difference": _amount(asked, amount - total),
        "rows": [{"day": row["day"], "value": _amount(asked, row[name])} for row in rows],
    }


def _restatement(asked: _Asked, row: Row, movements: Sequence[Row]) -> dict[str, Any]:
    return {
        "restatement_id": str(row["restatement_id"]),
        "publication_id": str(row["publication_id"]),
        "replaced_publication_id": str(row["replaced_publication_id"]),
        "scope": row["scope"],
        "old_value": _amount(asked, row["old_value"]),
        "new_value": _amount(asked, row["new_value"]),
        "cause": row["cause"],
        "was_final": row["was_final"],
        "run_id": row["run_id"],
        "restated_at": row["restated_at"],
        "movements": [
            {name: value for name, value in movement.items() if name != "publication_id"}
            for movement in movements
            if movement["publication_id"] == row["publication_id"]
        ],
    }


def _notes(asked: _Asked, rows: Sequence[Row], *, is_published: bool) -> list[str]:
    if not is_published:
        return ["The period is not published: there is no value yet, which is not the same as 0."]
    if not rows:
        return ["The period is published without a row for this event: the value is 0."]
    return []


def _command(asked: _Asked) -> str:
    """What lists every movement behind the value, from the lake."""
    words = [f"boxoffice explain {asked.dataset.name} --event {asked.event}"]
    words.append(f"--metric {asked.metric.name}")
    if asked.key != ALL:
        words.append(f"--day {asked.key}")
    words.append(f"--currency {asked.currency}")
    return " ".join(words + [f"--{_OPTIONS[name]} {asked.scope[name]}" for name in asked.scope])


_OPTIONS = {"provider": "provider", "instrument": "instrument", "ticket_type_id": "ticket-type"}
