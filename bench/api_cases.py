"""What is asked of a server of the bench, and whether its figures are those of SQL.

Belongs here: one case, reading the figures out of each kind of answer, comparing them. Does not
belong here: servers (``bench.api``, ``bench.api_peers``) or load (``bench.api_load``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

from api.routes.admin_examples import WATERFALL
from bench.api_load import body
from bench.api_warehouse import Size, statement

_COMPARED = 3
Ask = Callable[[int], tuple[str, str]]
"""Path with query, and ``Authorization``, of a request by its number."""
Days = dict[str, tuple[int, ...]]
"""The waterfall of each day, amounts in minor units."""


class FiguresDifferError(RuntimeError):
    """A server's answer is not what SQL says; nothing is to be made of how fast it is."""


@dataclass(frozen=True)
class Case:
    """Requests that are measured together.

    Attributes:
        days: reads an organizer's days from the body of an answer; None where it has none.
        first: the first of those days.
    """

    name: str
    ask: Ask
    days: Callable[[bytes], Days] | None = None
    first: date | None = None


def organizer(number: int, size: Size) -> int:
    """Whom a request is about; neighbors in time are none in the table."""
    return number * 7 % size.organizers + 1


# --- Days in answers --------------------------------------------------------------------------


def in_series(answer: bytes) -> Days:
    """In series with points, bare or below ``data``: Box Office, and PostgREST's function."""
    found = json.loads(answer)
    (series,) = found["data"] if isinstance(found, dict) else found
    return _days(series["points"], "period")


def in_rows(answer: bytes) -> Days:
    """In a list of rows: PostgREST, and Datasette with ``_shape=array``."""
    return _days(json.loads(answer), "business_date")


def in_cube(answer: bytes) -> Days:
    """In Cube's rows, whose numbers are texts."""
    rows = json.loads(answer)["data"]
    plain = [{name.split(".")[1]: value for name, value in row.items()} for row in rows]
    return _days(plain, "business_date")


def _days(rows: Iterable[Mapping[str, Any]], day: str) -> Days:
    return {row[day][:10]: tuple(_number(row[name]) for name in WATERFALL) for row in rows}


def _number(value: Any) -> int:
    return int(value["minor"] if isinstance(value, dict) else value)


# --- Comparing --------------------------------------------------------------------------------


def compare(cases: Sequence[Case], url: str, warehouse_url: str, size: Size) -> None:
    """Compare some answers of each case, every metric of every day, with the rows themselves.

    Raises:
        FiguresDifferError: they are not the same.
    """
    with psycopg.connect(warehouse_url) as connection:
        for case in cases:
            if case.days is None or case.first is None:
                continue
            for number in range(_COMPARED):
                whose = organizer(number, size)
                rows = connection.execute(
                    statement("api_revenue", metrics=WATERFALL),
                    {"organizer": whose, "first": case.first, "last": size.year[1]},
                )
                wanted = {str(day): tuple(figures) for day, *figures in rows}
                path, token = case.ask(number)
                try:
                    _refuse_difference(case.days(answer := body(url + path, token)), wanted)
                except (ValueError, KeyError, TypeError) as error:
                    raise FiguresDifferError(
                        f"{case.name}, organizer {whose}: {error!r} in {answer[:500]!r}"
                    ) from error


def _refuse_difference(found: Days, wanted: Days) -> None:
    for day in sorted(found.keys() | wanted.keys()):
        if found.get(day) != wanted.get(day):
            raise ValueError(f"{day}: {found.get(day)}, SQL says {wanted.get(day)}")
