"""Quarantine: which rows of the source cannot be used, why, and when there are too many of them.

Belongs here: the rules that the contract's columns imply, as SQL, the rows that break them, and the
thresholds that stop an extraction. Does not belong here: the columns themselves
(``resources.source_contract``) or the table the rows go to (``warehouse.extractions``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from metrics.calendar import DayRange, business_date
from metrics.money import currency_exponents
from resources.source import fill_tokens, statement
from resources.source_contract import (
    EARLIEST,
    FACTS,
    LATEST_AFTER_NOW,
    MAX_MINOR_UNITS,
    Fact,
    Reason,
    SourceColumn,
)

RULE = "quarantine_rule"
FOUND = "quarantine_found"
EXACT = "_exact"
"""Suffix of the text of a numeric column, exactly as the source has it."""
_KNOWN = {
    "organizers": Reason.UNKNOWN_ORGANIZER,
    "events": Reason.UNKNOWN_EVENT,
    "ticket_types": Reason.UNKNOWN_TICKET_TYPE,
}


@dataclass(frozen=True)
class Rule:
    """One way in which a row cannot be used; ``condition`` is DuckDB SQL, true for such a row."""

    column: str
    reason: Reason
    condition: str
    found: str


def rules(fact: Fact, snapshot_at: datetime, numeric: frozenset[str] = frozenset()) -> list[Rule]:
    """What makes a row of the fact unusable, first the values outside a closed domain.

    Args:
        snapshot_at: the source's clock.
        numeric: money columns whose text is beside them, with the suffix ``EXACT``.
    """
    found = [rule for column in fact.columns for rule in _rules(fact, column, snapshot_at, numeric)]
    return sorted(found, key=lambda rule: rule.reason is not Reason.UNKNOWN_VALUE)


def _rules(
    fact: Fact, column: SourceColumn, snapshot_at: datetime, numeric: frozenset[str]
) -> list[Rule]:
    name = column.name
    text = f"{name}{EXACT}" if name in numeric else f"CAST({name} AS VARCHAR)"
    conditions: list[tuple[Reason, str]] = []
    if column.values:
        values = ", ".join(f"'{value}'" for value in column.values)
        conditions.append((Reason.UNKNOWN_VALUE, f"{name} NOT IN ({values})"))
    if not column.nullable:
        conditions.append((Reason.EMPTY, f"{text if name in numeric else name} IS NULL"))
    if column.money:
        if name in numeric:
            conditions += [
                (Reason.NOT_A_NUMBER, f"{text} IN ('NaN', 'Infinity', '-Infinity')"),
                (Reason.SUB_MINOR, rf"NOT regexp_full_match({text}, '-?[0-9]+(\.0*)?')"),
                (Reason.OUT_OF_BOUNDS, f"{name} IS NULL AND {text} IS NOT NULL"),
            ]
        bounds = f"{name} NOT BETWEEN -{MAX_MINOR_UNITS} AND {MAX_MINOR_UNITS}"
        conditions.append((Reason.OUT_OF_BOUNDS, bounds))
    if column.money or column.count:
        conditions.append((Reason.NEGATIVE, f"{name} < 0"))
    if column.past:
        latest = snapshot_at + LATEST_AFTER_NOW
        conditions += [
            (Reason.TOO_EARLY, f"{name} < TIMESTAMPTZ '{EARLIEST.isoformat()}'"),
            (Reason.IN_FUTURE, f"{name} > TIMESTAMPTZ '{latest.isoformat()}'"),
        ]
    if column.refers_to:
        known = f"known_{column.refers_to}"
        conditions.append((_KNOWN[column.refers_to], f"{known} IS NULL"))
    if name == "currency":
        codes = ", ".join(f"'{code}'" for code in sorted(currency_exponents()))
        if fact.name == "events":
            conditions.append((Reason.UNKNOWN_CURRENCY, f"currency NOT IN ({codes})"))
        else:
            # An event's own currency is known, so only another one has to be looked up.
            other = "currency <> event_currency"
            conditions += [
                (Reason.UNKNOWN_CURRENCY, f"{other} AND currency NOT IN ({codes})"),
                (Reason.FOREIGN_CURRENCY, other),
            ]
    shown = "NULL" if column.pii else text
    return [Rule(name, reason, condition, shown) for reason, condition in conditions]


def ruled_select(
    fact: Fact, rows: str, snapshot_at: datetime, numeric: frozenset[str] = frozenset()
) -> str:
    """Statement of the rows, each with the number of the first rule it breaks, and what it holds.

    Args:
        rows: relation of the canonical columns; the catalogue the fact refers to is in ``temp``.
    """
    refers = [column for column in fact.columns if column.refers_to]
    exact = ", ".join(
        f"TRY_CAST(split_part({name}, '.', 1) AS BIGINT) AS {name}, {name} AS {name}{EXACT}"
        for name in sorted(numeric)
    )
    if exact:
        rows = f"(SELECT * EXCLUDE ({', '.join(sorted(numeric))}), {exact} FROM {rows})"
    columns, joins = ["r.*"], ""
    for column in refers:
        other, key = f"known_{column.refers_to}", column.name
        columns.append(f"{other}.{key} AS {other}")
        if column.refers_to == "events":
            columns += [f"{other}.organizer_id AS event_organizer_id"]
            columns += [f"{other}.currency AS event_currency"]
        joins += f" LEFT JOIN temp.raw_{column.refers_to} AS {other} ON {other}.{key} = r.{key}"
    all_rules = rules(fact, snapshot_at, numeric)
    whens = " ".join(f"WHEN {rule.condition} THEN {n}" for n, rule in enumerate(all_rules))
    shown = " ".join(f"WHEN {n} THEN {rule.found}" for n, rule in enumerate(all_rules))
    return (
        f"SELECT *, CASE {RULE} {shown} END AS {FOUND} FROM ("
        f"SELECT *, CASE {whens} END AS {RULE} FROM ("
        f"SELECT {', '.join(columns)} FROM {rows} AS r{joins}))"
    )


def undatable_sql(fact: Fact, time_zone: str, snapshot_at: datetime) -> str:
    """Postgres statement of the rows with an instant that no reporting day can hold.

    The fact's own statement, for the time before ``EARLIEST`` and for the time to come, so that it
    walks the same indexes.
    """
    latest = snapshot_at + LATEST_AFTER_NOW
    columns = ", ".join(dict.fromkeys([*(fact.keys or (fact.columns[0].name,)), *fact.days]))
    before = fill_tokens(
        statement(fact.name).strip(),
        range_start="TIMESTAMPTZ '-infinity'",
        range_end=f"TIMESTAMPTZ '{EARLIEST.isoformat()}'",
        first_day="DATE '-infinity'",
        last_day=f"DATE '{EARLIEST.date() - timedelta(days=1)}'",
    )
    after = fill_tokens(
        statement(fact.name).strip(),
        range_start=f"TIMESTAMPTZ '{(latest + timedelta(microseconds=1)).isoformat()}'",
        range_end="TIMESTAMPTZ 'infinity'",
        first_day=f"DATE '{business_date(time_zone, latest) + timedelta(days=1)}'",
        last_day="DATE 'infinity'",
    )
    return f"SELECT {columns} FROM ({before}\n) AS b UNION SELECT {columns} FROM ({after}\n) AS a"


def undatable_select(fact: Fact, rows: str, snapshot_at: datetime) -> str:
    """DuckDB statement that says of each undatable row which instant is impossible."""
    earliest = f"TIMESTAMPTZ '{EARLIEST.isoformat()}'"
    early = " ".join(f"WHEN {day} < {earliest} THEN '{day}'" for day in fact.days)
    shown = " ".join(f"WHEN '{day}' THEN CAST({day} AS VARCHAR)" for day in fact.days)
    latest = f"TIMESTAMPTZ '{(snapshot_at + LATEST_AFTER_NOW).isoformat()}'"
    late = " ".join(f"WHEN {day} > {latest} THEN '{day}'" for day in fact.days)
    return (
        f"SELECT '{fact.name}' AS fact, {fact.row_key} AS row_key, CAST(NULL AS DATE) AS"
        f" business_date, column_name, CASE WHEN is_early THEN '{Reason.TOO_EARLY}'"
        f" ELSE '{_escape(Reason.IN_FUTURE)}' END AS reason, CASE column_name {shown} END AS found"
        f" FROM (SELECT *, coalesce(CASE {early} END, CASE {late} END) AS column_name,"
        f" CASE {early} END IS NOT NULL AS is_early FROM {rows})"
    )


def broken_select(fact: Fact, rows: str, snapshot_at: datetime, numeric: frozenset[str]) -> str:
    """DuckDB statement of the rows that break a rule, in the shape of the quarantine."""
    all_rules = rules(fact, snapshot_at, numeric)
    columns = " ".join(f"WHEN {n} THEN '{rule.column}'" for n, rule in enumerate(all_rules))
    reasons = " ".join(
        f"WHEN {n} THEN '{_escape(rule.reason)}'" for n, rule in enumerate(all_rules)
    )
    day = "CAST(NULL AS DATE)" if fact.is_catalogue else "business_date"
    return (
        f"SELECT '{fact.name}' AS fact, {fact.row_key} AS row_key, {day} AS business_date,"
        f" CASE {RULE} {columns} END AS column_name, CASE {RULE} {reasons} END AS reason,"
        f" CAST({FOUND} AS VARCHAR) AS found FROM {rows} WHERE {RULE} IS NOT NULL"
    )


@dataclass(frozen=True)
class Unusable:
    """The rows one extraction could not use.

    Attributes:
        rows: fact, row_key, business_date (None where no day can hold it, and for the catalogue),
            column_name, reason, found.
        facts: every fact that was read, the catalogue included.
        days: the range that was read; None where only the catalogue was.
        snapshot_at: source transaction time.
    """

    rows: pl.DataFrame
    facts: tuple[str, ...]
    days: DayRange | None
    snapshot_at: datetime

    def counts(self) -> dict[tuple[str, date | None], int]:
        """How many, by fact and business date."""
        grouped = self.rows.group_by("fact", "business_date").len()
        return {(fact, day): count for fact, day, count in grouped.iter_rows()}

    def of_no_day(self, fact: str) -> pl.DataFrame:
        """The rows of a fact that no reporting day can hold."""
        return self.rows.filter((pl.col("fact") == fact) & pl.col("business_date").is_null())

    def reasons(self, fact: str, day: date | None) -> dict[str, int]:
        """How many of a fact and day (None: of no day), by column and reason."""
        at = pl.col("business_date")
        chosen = self.rows.filter(
            (pl.col("fact") == fact) & (at.is_null() if day is None else at == day)
        )
        return reason_counts(chosen)


def reason_counts(rows: pl.DataFrame) -> dict[str, int]:
    """Rows by ``column reason``, most frequent first."""
    counted = Counter(f"{c} {r}" for c, r in rows.select("column_name", "reason").iter_rows())
    return dict(counted.most_common())


class QuarantineError(RuntimeError):
    """So many rows cannot be used that something is wrong with the source, or its statement."""

    def __init__(self, problems: Sequence[str], unusable: Unusable) -> None:
        """Say of each fact how many, why, and what to do."""
        self.unusable = unusable
        super().__init__(
            "too many rows of the source cannot be used, so nothing was committed to the lake."
            f" {' '.join(problems)} The rows are in ops.quarantine. Mend them at the source, or the"
            " statement in resources/source_sql, and run again; if they are to be left out, raise"
            " BOXOFFICE_QUARANTINE_MAX_SHARE or BOXOFFICE_QUARANTINE_TOLERANCE"
        )


class UnknownValueError(RuntimeError):
    """A column with a closed domain holds a value that the contract does not have."""


def check_values(unusable: pl.DataFrame) -> None:
    """Stop for a value outside a closed domain: what it means has to be decided first.

    Raises:
        UnknownValueError: names fact, column, values, how many, and what to do.
    """
    unknown = unusable.filter(pl.col("reason") == Reason.UNKNOWN_VALUE.value)
    if unknown.is_empty():
        return
    counted = Counter(unknown.select("fact", "column_name", "found").iter_rows())
    columns: dict[tuple[str, str], list[str]] = {}
    for (fact, column, found), count in counted.most_common():
        columns.setdefault((fact, column), []).append(f"{found!r} in {count:,} rows")
    named = "; ".join(f"{f}.{c} holds {', '.join(v)}" for (f, c), v in columns.items())
    raise UnknownValueError(
        f"values that the contract does not have, so nothing was committed to the lake: {named}."
        " Map each to one of the contract's in resources/source_sql, or add it to the column's"
        " values in resources/source_contract.py if it is new"
    )


@dataclass(frozen=True)
class Threshold:
    """How many unusable rows of a fact an extraction bears: up to either of both.

    Attributes:
        tolerance: rows.
        max_share: share of the fact's rows.
    """

    tolerance: int
    max_share: float

    def exceeded(self, unusable: int, total: int) -> bool:
        """Whether the unusable of all rows are too many."""
        return unusable > self.tolerance and unusable > self.max_share * total


def check_shares(
    unusable: Unusable,
    threshold: Threshold,
    used: Mapping[tuple[str, bool], int],
    lost: Mapping[str, int],
) -> None:
    """Stop where too many rows cannot be used.

    Args:
        used: usable rows by fact and whether they are of the run's days; else of all the lake's.
        lost: rows by fact that have no possible day now, and that the lake has on the run's days.

    Raises:
        QuarantineError: a fact's unusable rows exceed the threshold.
    """
    problems = []
    for fact in unusable.facts:
        of_fact = unusable.rows.filter(pl.col("fact") == fact)
        catalogue = FACTS[fact].is_catalogue
        dated = of_fact.filter(pl.col("business_date").is_not_null() | catalogue)
        for rows, is_dated in (
            (dated, True),
            (of_fact.filter(_undated(catalogue=catalogue)), False),
        ):
            count = rows.height + (lost.get(fact, 0) if is_dated else 0)
            total = count + used.get((fact, is_dated), 0)
            if threshold.exceeded(count, total):
                shown = of_fact if lost.get(fact) else rows
                counts = ", ".join(f"{why}: {n:,}" for why, n in reason_counts(shown).items())
                of = _of(unusable.days, is_dated=is_dated, catalogue=catalogue)
                problems.append(f"{fact}: {count:,} of {total:,} rows {of} ({counts}).")
    if problems:
        raise QuarantineError(problems, unusable)


def _undated(*, catalogue: bool) -> pl.Expr:
    return pl.lit(False) if catalogue else pl.col("business_date").is_null()


def _of(days: DayRange | None, *, is_dated: bool, catalogue: bool) -> str:
    if catalogue or days is None:
        return "of the catalogue"
    return f"of {days.first} to {days.last}" if is_dated else "of all time have no possible day"


def _escape(text: str) -> str:
    return text.replace("'", "''")
