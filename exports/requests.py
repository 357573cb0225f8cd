"""Export requests: one dataset, its filters and columns, known to be right before anything runs.

Belongs here: validating a request against the dataset and what the requester may name. Does not
belong here: the datasets (``exports.datasets``), the filters' own rules (``exports.filters``) or
reading the rows (``exports.reading``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exports import filters as f
from exports.columns import Series
from exports.datasets import EXPORTS, ExportColumn, ExportDataset
from exports.filters import Days, Filters, Problem, RequestError
from exports.masking import Pii, Requester, Treatment, treatment


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What a request may name.

    Attributes:
        events: event → its organizer.
        ticket_types: ticket type → its event.
    """

    events: Mapping[int, int] = field(default_factory=dict)
    ticket_types: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """A request that is known to be right; made by ``validate``."""

    dataset: ExportDataset
    filters: Filters
    columns: tuple[ExportColumn, ...]
    requester: Requester

    def treatment(self, column: ExportColumn) -> Treatment:
        """How the requester is given a column."""
        return treatment(self.dataset.name, column.name, self.requester)

    @property
    def days(self) -> Days | None:
        """The days asked for by which the dataset's rows are loaded or published."""
        return getattr(self.filters, self.dataset.days) if self.dataset.days else None

    @property
    def disclosed(self) -> tuple[str, ...]:
        """Exported columns with personal data that leave clear, at least in some rows."""
        return tuple(
            c.name
            for c in self.columns
            if c.pii not in (None, Pii.PSEUDONYM)
            and self.treatment(c) in (Treatment.CLEAR, Treatment.CONSENTED)
        )

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """The filters as a file shows them.

        What was searched for may be personal: it is shown only to those who see such data anyway.
        """
        personal = [c for c in self.dataset.columns if c.searched and c.pii]
        hidden = any(self.treatment(column) is not Treatment.CLEAR for column in personal)
        return tuple(
            (label, "(not shown)" if label == "Search" and hidden else value)
            for label, value in self.filters.labels()
        )

    @property
    def series(self) -> Series | None:
        """What a chart is drawn of, if it is exported."""
        series, names = self.dataset.series, {column.name for column in self.columns}
        if series is None or series.day not in names:
            return None
        values = tuple(name for name in series.values if name in names)
        return Series(day=series.day, values=values) if values else None


def named(raw: object) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Events and ticket types that raw filters name, as far as they can be read.

    For looking them up before ``validate``; what cannot be read is reported there.
    """
    model = type("_Named", (f.AttendeeFilters,), {})
    values = raw if isinstance(raw, dict) else {}
    read, _ = f.parse(model, {n: values[n] for n in ("events", "ticket_types") if n in values})
    if not isinstance(read, f.AttendeeFilters):
        return (), ()
    return read.events or (), read.ticket_types or ()


def validate(
    dataset: str,
    filters: object,
    columns: Sequence[str] | None,
    requester: Requester,
    catalogue: Catalogue,
) -> ExportRequest:
    """Whether a request can become an export.

    Args:
        filters: plain JSON data.
        columns: names in the order they are to be written; None for those of the default.
        catalogue: at least the named events and ticket types that exist (see ``named``).

    Raises:
        RequestError: with every problem. An event of another organizer is reported like one that
            does not exist.
    """
    if dataset not in EXPORTS:
        raise RequestError(
            [Problem("dataset", f"{dataset!r} is not a dataset; there are {', '.join(EXPORTS)}")]
        )
    definition = EXPORTS[dataset]
    parsed, problems = f.parse(definition.filters, filters)
    chosen = _choose(definition, columns, requester, problems)
    if parsed is not None:
        problems += _unknown(parsed, requester, catalogue)
    if problems or parsed is None:
        raise RequestError(problems)
    return ExportRequest(dataset=definition, filters=parsed, columns=chosen, requester=requester)


def _choose(
    dataset: ExportDataset,
    names: Sequence[str] | None,
    requester: Requester,
    problems: list[Problem],
) -> tuple[ExportColumn, ...]:
    absent = {
        column.name
        for column in dataset.columns
        if treatment(dataset.name, column.name, requester) is Treatment.ABSENT
    }
    if names is None:
        return tuple(c for c in dataset.columns if c.default and c.name not in absent)
    chosen = []
    for name in dict.fromkeys(names):
        if name in dataset.by_name and name not in absent:
            chosen.append(dataset.by_name[name])
        else:
            there = ", ".join(n for n in dataset.by_name if n not in absent)
            message = f"{name!r} is not a column of {dataset.name}; it has {there}"
            problems.append(Problem("columns", message))
    if not names:
        problems.append(Problem("columns", "name at least one, or leave columns out"))
    if len(set(names)) != len(names):
        twice = ", ".join(sorted({name for name in names if list(names).count(name) > 1}))
        problems.append(Problem("columns", f"named more than once: {twice}"))
    missing = {c.currency for c in chosen if c.currency and c.currency not in names}
    for currency in sorted(missing):
        money = ", ".join(c.name for c in chosen if c.currency == currency)
        problems.append(Problem("columns", f"{money}: money needs the column {currency} too"))
    return tuple(chosen)


def _unknown(filters: Filters, requester: Requester, catalogue: Catalogue) -> list[Problem]:
    """Events and ticket types that do not exist for the requester."""

    def exists(event: int | None) -> bool:
        organizer = None if event is None else catalogue.events.get(event)
        return organizer is not None and requester.organizer_id in (None, organizer)

    problems = []
    events = filters.events or ()
    if unknown := [event for event in events if not exists(event)]:
        problems.append(Problem("filters.events", f"there is no event {_some(unknown)}"))
    types = getattr(filters, "ticket_types", None) or ()
    owners = {key: catalogue.ticket_types.get(key) for key in types}
    if unknown := [key for key, event in owners.items() if not exists(event)]:
        problems.append(
            Problem("filters.ticket_types", f"there is no ticket type {_some(unknown)}")
        )
    elsewhere = [key for key, e in owners.items() if events and exists(e) and e not in events]
    if elsewhere:
        message = f"{_some(elsewhere)} is of none of the events asked for"
        problems.append(Problem("filters.ticket_types", message))
    return problems


def _some(keys: Sequence[int]) -> str:
    listed = ", ".join(map(str, keys[:20]))
    return listed if len(keys) <= 20 else f"{listed} and {len(keys) - 20} more"
