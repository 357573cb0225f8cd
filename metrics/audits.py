"""Audits: what must hold of a dataset's rows before readers may see them.

Belongs here: the checks of a finished dataset, as pure functions over its rows and its declaration
(``metrics.datasets``). Does not belong here: reading what they compare with (``assets.compute``),
telling Dagster (``assets.checks``) or the record of the outcome (``warehouse.audits``).
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import polars as pl

from metrics.datasets import Dataset
from metrics.money import currency_exponents
from metrics.registry import may_be_negative, terms

BOUND = 10**15
"""No value is beyond it, either way: a thousandth of what 64 bits hold, so that sums fit too."""
EXAMPLES = 10
WEEKS_BEFORE = 8
_FACTOR = 4
_LEAST_MEDIAN = 20


@dataclass(frozen=True)
class Check:
    """One check; a blocking one that fails keeps the rows from readers."""

    name: str
    description: str
    blocking: bool = True


@dataclass(frozen=True)
class Finding:
    """What a check found wrong in one partition.

    Attributes:
        what: what is wrong, and what to do about it where that is not the same for all.
        count: how often.
        examples: the first few, each with where it is.
    """

    partition_key: str
    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What a check found; it passed where it found nothing."""

    check: Check
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def blocks(self) -> bool:
        """Whether the rows must not be published."""
        return self.check.blocking and not self.passed


@dataclass(frozen=True)
class Catalogue:
    """What rows may refer to.

    Attributes:
        events: ``event_id``, ``organizer_id`` and ``currency`` of every event.
        ticket_types: ``ticket_type_id`` and ``event_id`` of every ticket type.
    """

    events: pl.DataFrame
    ticket_types: pl.DataFrame


@dataclass(frozen=True)
class Difference:
    """A sum that two neighbouring layers do not agree on.

    Attributes:
        hop: the two layers, for example ``source -> raw``.
        where: what the sum is of, for example an organizer and a currency.
        expected: the layer before.
        found: the layer after.
    """

    partition_key: str
    hop: str
    where: str
    measure: str
    expected: int
    found: int

    def __str__(self) -> str:
        """Where, and both sides."""
        return f"{self.where}: {self.measure} is {self.found}, should be {self.expected}"


KEYS_UNIQUE = Check("keys_unique", "No two rows have the same key.")
NOT_NULL = Check("not_null", "Every column that must hold a value does.")
DOMAINS = Check(
    "domains", "Currencies are of ISO 4217; providers, instruments, kinds and states are known."
)
AMOUNTS_IN_BOUNDS = Check(
    "amounts_in_bounds",
    f"Nothing is beyond {BOUND:,} either way; counts, and money that only comes in, are not below "
    "zero.",
)
IDENTITIES = Check("identities", "Every metric that is a sum of others equals that sum.")
REFERENTIAL = Check(
    "referential",
    "Every event is in the catalogue, with the row's organizer and currency; so is every ticket "
    "type.",
)
RECONCILED = Check(
    "reconciled",
    "Every sum per partition, organizer or event, and currency equals that of the layer before, to "
    "the minor unit; days equal plain SQL on the source.",
)
VOLUME = Check(
    "volume",
    f"A complete day has between a {_FACTOR}th and {_FACTOR} times the orders of the same weekday "
    f"in the {WEEKS_BEFORE} weeks before (their median). A warning: it is published all the same.",
    blocking=False,
)


def checks_of(dataset: Dataset) -> tuple[Check, ...]:
    """The checks of a dataset, in the order they are made."""
    common = (KEYS_UNIQUE, NOT_NULL, DOMAINS, AMOUNTS_IN_BOUNDS, IDENTITIES, REFERENTIAL)
    counts_orders = dataset.period == "day" and "orders" in dataset.metric_names
    return (*common, RECONCILED, *((VOLUME,) if counts_orders else ()))


def audit_rows(dataset: Dataset, rows: pl.DataFrame, catalogue: Catalogue) -> list[Verdict]:
    """Every check that needs nothing but the rows and the catalogue.

    Args:
        rows: of any number of partitions, with the dataset's columns.
    """
    found = {
        KEYS_UNIQUE: keys_unique(dataset, rows),
        NOT_NULL: not_null(dataset, rows),
        DOMAINS: domains(dataset, rows),
        AMOUNTS_IN_BOUNDS: amounts_in_bounds(dataset, rows),
        IDENTITIES: identities(dataset, rows),
        REFERENTIAL: referential(dataset, rows, catalogue),
    }
    return [Verdict(check, tuple(findings)) for check, findings in found.items()]


def keys_unique(dataset: Dataset, rows: pl.DataFrame) -> list[Finding]:
    """No two rows have the same grain."""
    key = [column.name for column in dataset.grain]
    repeated = rows.filter(pl.struct(key).is_duplicated()) if rows.height else rows
    return _findings(dataset, repeated, f"rows share the key ({', '.join(key)})")


def not_null(dataset: Dataset, rows: pl.DataFrame) -> list[Finding]:
    """Only nullable attributes may be empty."""
    required = [c.name for c in (*dataset.grain, *dataset.attributes) if not c.nullable]
    empty = rows.select(*required, *dataset.metric_names).null_count()
    return [
        finding
        for name in empty.columns
        if empty[name].item()
        for finding in _findings(dataset, rows.filter(pl.col(name).is_null()), f"{name} is empty")
    ]


def domains(dataset: Dataset, rows: pl.DataFrame) -> list[Finding]:
    """Columns with named values hold one of them; a currency is an ISO 4217 code."""
    found = []
    for column in (*dataset.grain, *dataset.attributes):
        known = _currencies() if column.name == "currency" else column.values
        if not known:
            continue
        unknown = rows.filter(pl.col(column.name).is_not_null() & ~pl.col(column.name).is_in(known))
        what = f"{column.name} is none of {', '.join(known[:10])}" + ", ..." * (len(known) > 10)
        found += _findings(dataset, unknown, what, column.name)
    return found


def amounts_in_bounds(dataset: Dataset, rows: pl.DataFrame) -> list[Finding]:
    """No value is beyond what can be; below zero only where the registry allows it."""
    found = []
    for metric in dataset.metrics:
        least = -BOUND if may_be_negative(metric) else 0
        value = pl.col(metric.name)
        beyond = rows.filter((value < least) | (value > BOUND))
        found += _findings(
            dataset, beyond, f"{metric.name} is outside {least} to {BOUND}", metric.name
        )
    return found


def identities(dataset: Dataset, rows: pl.DataFrame) -> list[Finding]:
    """Every derived metric equals its terms, where the dataset has them all."""
    found = []
    for metric in dataset.derived:
        # In 128 bits: Polars wraps silently in 64.
        total = pl.lit(0, pl.Int128)
        for name, sign in terms(metric).items():
            term = pl.col(name).cast(pl.Int128)
            total = total + term if sign > 0 else total - term
        broken = rows.filter(pl.col(metric.name).cast(pl.Int128) != total)
        what = f"{metric.name} is not {metric.formula}"
        found += _findings(dataset, broken, what, metric.name)
    return found


def referential(dataset: Dataset, rows: pl.DataFrame, catalogue: Catalogue) -> list[Finding]:
    """Events, with organizer and currency, and ticket types are in the catalogue."""
    key = ["event_id", "organizer_id", "currency"]
    lost = rows.join(catalogue.events, on=key, how="anti")
    what = (
        "no such event with this organizer and currency in the catalogue; if the platform changed"
        " them, run `boxoffice backfill` over the event's days"
    )
    found = _findings(dataset, lost, what)
    if any(column.name == "ticket_type_id" for column in dataset.grain):
        key = ["ticket_type_id", "event_id"]
        lost = rows.join(catalogue.ticket_types, on=key, how="anti")
        found += _findings(dataset, lost, "no such ticket type of this event in the catalogue")
    return found


def reconciled(differences: Iterable[Difference], days_without_totals: Collection[date]) -> Verdict:
    """Sums that differ from the layer before, and days nobody can compare.

    Args:
        differences: where two layers disagree.
        days_without_totals: days for which the lake has no totals of the source.
    """
    findings = [
        Finding(
            day.isoformat(),
            "the lake has no totals of the source to compare with; run"
            f" `boxoffice backfill --from {day} --to {day}`",
            1,
            (),
        )
        for day in sorted(days_without_totals)
    ]
    grouped: dict[tuple[str, str], list[Difference]] = {}
    for difference in differences:
        grouped.setdefault((difference.partition_key, difference.hop), []).append(difference)
    for (key, hop), differing in sorted(grouped.items()):
        examples = tuple(str(difference) for difference in differing[:EXAMPLES])
        findings.append(Finding(key, f"{hop}: sums differ", len(differing), examples))
    return Verdict(RECONCILED, tuple(findings))


def volume(
    orders: Mapping[date, int], published: Mapping[date, int], complete: Collection[date]
) -> Verdict:
    """Orders of complete days against the same weekday of the weeks before.

    Args:
        orders: about to be published, by day.
        published: orders of the days before, as readers see them.
        complete: the days of ``orders`` whose time has passed.
    """
    known = {**published, **orders}
    findings = []
    for day in sorted(complete):
        before = [day - timedelta(weeks=week) for week in range(1, WEEKS_BEFORE + 1)]
        history = [known[other] for other in before if other in known]
        if not history:
            continue
        median = statistics.median(history)
        if median < _LEAST_MEDIAN:
            continue
        if not median / _FACTOR <= orders[day] <= median * _FACTOR:
            what = f"{orders[day]:,} orders; the same weekday's median is {median:,.0f}"
            listed = ", ".join(f"{count:,}" for count in history)
            findings.append(Finding(day.isoformat(), what, 1, (f"newest first: {listed}",)))
    return Verdict(VOLUME, tuple(findings))


@cache
def _currencies() -> tuple[str, ...]:
    return tuple(sorted(currency_exponents()))


def _findings(
    dataset: Dataset, wrong: pl.DataFrame, what: str, shown: str | None = None
) -> list[Finding]:
    """A finding for each partition of the rows that are wrong.

    Args:
        shown: the column whose value is told.
    """
    if wrong.is_empty():
        return []
    key = [column.name for column in dataset.grain]
    if dataset.period == "all":
        parts: dict[tuple[object, ...], pl.DataFrame] = {("all",): wrong}
    else:
        parts = wrong.partition_by(key[0], maintain_order=True, as_dict=True)
        key = key[1:]
    return [
        Finding(
            str(partition[0]),
            what,
            part.height,
            tuple(
                ", ".join(f"{name} {row[name]}" for name in key)
                + (f": {row[shown]}" if shown else "")
                for row in part.head(EXAMPLES).iter_rows(named=True)
            ),
        )
        for partition, part in parts.items()
    ]
