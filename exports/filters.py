"""What rows an export is asked for: one typed model of filters for each dataset.

Belongs here: the fields, their validation, how they are bound and how they are shown. Does not
belong here: which events exist and whose they are (``exports.requests``), or SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from metrics.calendar import day_bounds, day_start, parse_date

MAX_VALUES = 10_000
"""How many events, or ticket types, one request may name."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a request.

    Attributes:
        field: where, for example ``filters.sold`` or ``columns``.
        message: what is wrong and what would be right.
    """

    field: str
    message: str


class RequestError(ValueError):
    """A request that cannot become an export; names every problem at once.

    Attributes:
        problems: all of them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Say what is wrong."""
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in self.problems))


def _date(value: object) -> object:
    return parse_date(value) if isinstance(value, str) else _only_date(value)


def _only_date(value: object) -> date:
    if type(value) is not date:
        raise ValueError("write a date as YYYY-MM-DD, for example 2026-03-31")
    return value


Day = Annotated[date, BeforeValidator(_date)]
Key = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
Keys = Annotated[tuple[Key, ...], Field(min_length=1, max_length=MAX_VALUES)]
Currencies = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")], ...],
    Field(min_length=1, max_length=200),
]
Search = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Switch = Annotated[bool, Field(strict=True)]
Provider = Literal["MPESA", "PESAPAL", "PAYHERO", "CARD", "CASH"]
Instrument = Literal["mpesa", "airtel", "visa", "mastercard", "bank", "cash"]
Kind = Literal["admission", "add_on", "donation"]
Outcome = Literal["pending", "completed", "cancelled", "expired"]
EventStatus = Literal["draft", "on_sale", "sold_out", "completed", "cancelled"]
MovementKind = Literal[
    "order_placed",
    "order_completed",
    "test_order",
    "order_cancelled",
    "order_expired",
    "sale_line",
    "ticket_cancelled",
    "payment",
    "refund",
    "dispute_withdrawn",
    "dispute_reinstated",
    "check_in",
    "checkout",
    "traffic",
]
_Some = Field(min_length=1)
_EARLIEST, _LATEST = date(1970, 1, 1), date(2999, 12, 31)


class Days(BaseModel):
    """Reporting days from ``first`` to ``last``, both included; one of them may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: Day | None = None
    last: Day | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first is None and self.last is None:
            raise ValueError("give first, last or both, as YYYY-MM-DD")
        if self.first is not None and self.last is not None and self.last < self.first:
            raise ValueError(f"ends ({self.last}) before it starts ({self.first})")
        for day in (self.first, self.last):
            if day is not None and not _EARLIEST <= day <= _LATEST:
                raise ValueError(f"{day} is not between {_EARLIEST} and {_LATEST}")
        return self

    def __str__(self) -> str:
        """For people: ``2026-01-01 to 2026-01-31``."""
        if self.first is None:
            return f"until {self.last}"
        return f"from {self.first}" if self.last is None else f"{self.first} to {self.last}"


class Filters(BaseModel):
    """What every dataset can be filtered by."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    events: Keys | None = Field(None, description="Only these events.")

    @field_validator("*", mode="after")
    @classmethod
    def _one_form(cls, value: Any) -> Any:
        """Values in any order, once or more, ask for the same."""
        return tuple(sorted(set(value))) if isinstance(value, tuple) else value

    def parameters(self, time_zone: str) -> dict[str, object]:
        """Values to bind: a field under its name, days also as instants.

        Days ``sold`` give ``sold_first`` and ``sold_last`` (dates), ``sold_from`` and
        ``sold_until`` (the half-open interval of instants in UTC); None where they are open.
        """
        values: dict[str, object] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if _is_days(type(self), name):
                first, last = (value.first, value.last) if value is not None else (None, None)
                values[f"{name}_first"], values[f"{name}_last"] = first, last
                values[f"{name}_from"] = None if first is None else day_start(time_zone, first)
                values[f"{name}_until"] = None if last is None else day_bounds(time_zone, last)[1]
            else:
                values[name] = list(value) if isinstance(value, tuple) else value
        return values

    def labels(self) -> Iterator[tuple[str, str]]:
        """What was asked for, as people read it in the file; the search text is among it."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None or (name == "include_test" and not value):
                continue
            if isinstance(value, tuple):
                text = ", ".join(map(str, value))
            elif isinstance(value, bool):
                text = "yes" if value else "no"
            else:
                text = str(value)
            yield name.replace("_", " ").capitalize(), text

    def canonical(self) -> dict[str, Any]:
        """The same filters as plain JSON data, always in the same form."""
        return self.model_dump(mode="json", exclude_none=True)


def _is_days(model: type[Filters], name: str) -> bool:
    return Days in getattr(model.model_fields[name].annotation, "__args__", ())


class _WithTests(Filters):
    include_test: Switch = Field(False, description="Also rows of the platform's test mode.")


class AttendeeFilters(_WithTests):
    """Filters of ``attendees``."""

    status: Annotated[tuple[Literal["issued", "cancelled"], ...], _Some] | None = None
    ticket_types: Keys | None = Field(None, description="Only these ticket types.")
    kinds: Annotated[tuple[Kind, ...], _Some] | None = Field(
        None, description="Admissions only, unless kinds or ticket types are named."
    )
    sold: Days | None = Field(None, description="Reporting days on which they were sold.")
    checked_in: Switch | None = Field(None, description="Scanned at the gate, or not.")
    search: Search | None = Field(
        None,
        description="Text in the ticket type's name, or in contact data the requester sees clear; "
        "or the whole key of a ticket or order. Upper and lower case are the same.",
    )

    @model_validator(mode="before")
    @classmethod
    def _admissions(cls, values: Any) -> Any:
        """Say which kinds are meant, so that the file and the canonical form do too."""
        named = ("kinds", "ticket_types")
        if isinstance(values, dict) and all(values.get(name) is None for name in named):
            return {**values, "kinds": ("admission",)}
        return values


class OrderFilters(_WithTests):
    """Filters of ``orders``."""

    status: Annotated[tuple[Literal["completed", "cancelled"], ...], _Some] | None = None
    completed: Days | None = Field(None, description="Reporting days of completion.")
    currencies: Currencies | None = None


class RequestFilters(_WithTests):
    """Filters of ``requests``."""

    outcome: Annotated[tuple[Outcome, ...], _Some] | None = None
    placed: Days | None = Field(None, description="Reporting days on which they were placed.")
    currencies: Currencies | None = None


class _MoneyFilters(_WithTests):
    providers: Annotated[tuple[Provider, ...], _Some] | None = None
    instruments: Annotated[tuple[Instrument, ...], _Some] | None = None
    currencies: Currencies | None = None


class PaymentFilters(_MoneyFilters):
    """Filters of ``payments``."""

    confirmed: Days | None = Field(None, description="Reporting days of confirmation.")


class RefundFilters(_MoneyFilters):
    """Filters of ``refunds``."""

    succeeded: Days | None = Field(None, description="Reporting days on which they succeeded.")


class MovementFilters(Filters):
    """Filters of ``movements``."""

    kinds: Annotated[tuple[MovementKind, ...], _Some] | None = None
    days: Days | None = Field(None, description="Reporting days of the movements.")
    currencies: Currencies | None = None


class DayFilters(Filters):
    """Filters of published days."""

    days: Days | None = Field(None, description="Reporting days.")
    currencies: Currencies | None = None


class DailyPaymentFilters(DayFilters):
    """Filters of ``daily_payments``."""

    providers: Annotated[tuple[Provider, ...], _Some] | None = None
    instruments: Annotated[tuple[Instrument, ...], _Some] | None = None


class DailyTicketTypeFilters(DayFilters):
    """Filters of ``daily_ticket_types``."""

    ticket_types: Keys | None = None
    kinds: Annotated[tuple[Kind, ...], _Some] | None = None


class PeriodFilters(Filters):
    """Filters of published weeks and months."""

    starting: Days | None = Field(None, description="Days between which the period starts.")
    currencies: Currencies | None = None


class EventSummaryFilters(Filters):
    """Filters of ``event_summary``."""

    status: Annotated[tuple[EventStatus, ...], _Some] | None = None
    starting: Days | None = Field(None, description="Reporting days on which the event starts.")
    currencies: Currencies | None = None
    search: Search | None = Field(None, description="Text in the event's or venue's name.")


def parse(model: type[Filters], raw: object) -> tuple[Filters | None, list[Problem]]:
    """The filters, and every problem with them.

    Where fields are wrong the filters hold the others, so that these can be checked further;
    None where nothing can be read. They are usable only if there are no problems.
    """
    if not isinstance(raw, dict):
        return None, [Problem("filters", "must be an object")]
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        errors = error.errors()
    # A list whose only value is wrong is not to be called empty as well.
    inner = {found["loc"][:n] for found in errors for n in range(len(found["loc"]))}
    problems = [_problem(model, dict(e)) for e in errors if not e["loc"] or e["loc"] not in inner]
    wrong = {str(found["loc"][0]) for found in errors if found["loc"]}
    left = {name: value for name, value in raw.items() if name not in wrong}
    try:
        return model.model_validate(left), problems
    except ValidationError:
        return None, problems


def _problem(model: type[Filters], found: dict[str, Any]) -> Problem:
    field = ".".join(["filters", *(str(part) for part in found["loc"])])
    if found["type"] == "extra_forbidden":
        if len(found["loc"]) == 1:
            names = ", ".join(sorted(model.model_fields))
            return Problem(field, f"is not a filter of this dataset; it has {names}")
        return Problem(field, "is not a field; there are first and last")
    return Problem(field, str(found["msg"]).removeprefix("Value error, "))
