"""The CSV files an import understands: their columns, the names these may have, and their kinds.

Belongs here: the formats as data, and matching a header with them. Does not belong here: reading
files (``import_reader``), what cells may hold (``import_cells``), or rules across rows
(``sql/import``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "whole", "text", "flag", "choice", "money", "instant", "currency", "time_zone",
    "organizer", "event",
]  # fmt: skip


class HeaderError(ValueError):
    """A file whose columns cannot be used; the message lists everything that is wrong."""


@dataclass(frozen=True)
class Column:
    """One column of a file.

    Attributes:
        name: of the staged column, without ``_minor`` for money.
        kind: what its cells hold. ``money`` is read from ``<name>_minor`` (minor units) or
            ``<name>`` (decimal major units); ``instant`` from ``<name>`` or ``<name>_utc``, from
            ``<name>_local``, or from both; ``organizer`` and ``event`` are keys of those files.
        aliases: further names of the column.
        required: the file must have it and no cell may be empty.
        choices: known words in lower case and what is stored for them.
        is_staged: it is stored; False: it only helps to read the row's other cells.
    """

    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()
    required: bool = False
    choices: Mapping[str, str] = field(default_factory=dict)
    is_staged: bool = True

    @property
    def staged(self) -> str:
        """Name in the staging table."""
        return f"{self.name}_minor" if self.kind == "money" else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """Names a header may use for it, without suffixes."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, eq=False)
class FileFormat:
    """One file: the table it fills, its key and its columns."""

    table: str
    key: str
    columns: tuple[Column, ...]
    required: bool = False

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.table}.csv"


@dataclass(frozen=True)
class Bound:
    """Where a column of a format stands in a file; None: the file does not have it.

    Attributes:
        index: position of the plain column (``_minor``, ``_utc`` or without suffix).
        has_suffix: that column is named ``*_minor`` or ``*_utc``.
        local_index: position of the ``*_local`` column.
    """

    column: Column
    index: int | None = None
    has_suffix: bool = False
    local_index: int | None = None


def _same(*words: str) -> dict[str, str]:
    return {word: word for word in words}


def _money(*names: str) -> Column:
    return Column(names[0], "money", names[1:])


def _instant(*names: str, required: bool = False) -> Column:
    return Column(names[0], "instant", names[1:], required)


def _text(*names: str, required: bool = False) -> Column:
    return Column(names[0], "text", names[1:], required)


_CANCELLED = {"cancelled": "cancelled", "canceled": "cancelled"}
_TIME_ZONE = Column("time_zone", "time_zone", ("timezone",))
_ROW_TIME_ZONE = Column("time_zone", "time_zone", ("timezone",), is_staged=False)
_CURRENCY = Column("currency", "currency")
_UPDATED = _instant("updated_at")
_PROVIDERS = {name.lower(): name for name in ("MPESA", "PESAPAL", "PAYHERO", "CARD", "CASH")}
_INSTRUMENTS = _same("mpesa", "airtel", "visa", "mastercard", "bank", "cash")

ORGANIZERS = FileFormat(
    "organizers",
    "organizer_id",
    (
        Column("organizer_id", "whole", required=True),
        _TIME_ZONE,
        _CURRENCY,
        _text("name", required=True),
        _text("country"),
        _instant("created_at"),
        _UPDATED,
    ),
    required=True,
)
EVENTS = FileFormat(
    "events",
    "event_id",
    (
        Column("event_id", "whole", required=True),
        Column("organizer_id", "organizer", required=True),
        _TIME_ZONE,
        _CURRENCY,
        _text("name", required=True),
        _text("category", "genre"),
        _text("venue"),
        Column("capacity", "whole"),
        _instant("on_sale_at"),
        _instant("starts_at"),
        _instant("ends_at"),
        Column(
            "status",
            "choice",
            choices=_same("draft", "on_sale", "sold_out", "completed") | _CANCELLED,
        ),
        _instant("cancelled_at"),
        _instant("created_at"),
        _UPDATED,
    ),
    required=True,
)
TICKET_TYPES = FileFormat(
    "ticket_types",
    "ticket_type_id",
    (
        Column("ticket_type_id", "whole", required=True),
        Column("event_id", "event", required=True),
        _ROW_TIME_ZONE,
        _CURRENCY,
        _text("name", required=True),
        Column("kind", "choice", choices=_same("admission", "add_on", "donation")),
        Column("price", "money", required=True),
        Column("quantity", "whole"),
        _UPDATED,
    ),
)
ORDERS = FileFormat(
    "orders",
    "order_id",
    (
        Column("order_id", "whole", required=True),
        Column("event_id", "event", required=True),
        _ROW_TIME_ZONE,
        _CURRENCY,
        Column("customer_id", "whole", ("buyer_id",)),
        _text("buyer_email"),
        _text("buyer_phone"),
        Column(
            "status",
            "choice",
            required=True,
            choices=_same("pending", "completed", "expired") | _CANCELLED | {"paid": "completed"},
        ),
        _text("channel"),
        Column("ticket_count", "whole", ("tickets",)),
        _money("discount"),
        _money("buyer_fees"),
        _money("tax"),
        _money("total", "gross"),
        _money("platform_fee"),
        Column("is_test", "flag"),
        _instant("placed_at", "created_at", required=True),
        _instant("completed_at"),
        _instant("cancelled_at"),
        _instant("expired_at"),
        _UPDATED,
    ),
    required=True,
)
TICKETS = FileFormat(
    "tickets",
    "ticket_id",
    (
        Column("ticket_id", "whole", required=True),
        Column("order_id", "whole", required=True),
        Column("event_id", "event"),
        _ROW_TIME_ZONE,
        _CURRENCY,
        Column("ticket_type_id", "whole"),
        _money("list_price"),
        Column("charged", "money", ("price",), required=True),
        Column("is_comp", "flag"),
        _text("attendee_name"),
        _text("attendee_email"),
        _text("attendee_phone"),
        Column("contact_consent", "flag"),
        Column("status", "choice", choices=_same("issued") | _CANCELLED),
        _instant("cancelled_at"),
        _money("unsold"),
        _money("retained_fee"),
        _UPDATED,
    ),
)
PAYMENTS = FileFormat(
    "payments",
    "payment_id",
    (
        Column("payment_id", "whole", required=True),
        Column("order_id", "whole", required=True),
        Column("event_id", "event"),
        _ROW_TIME_ZONE,
        _CURRENCY,
        Column("provider", "choice", required=True, choices=_PROVIDERS),
        Column("instrument", "choice", required=True, choices=_INSTRUMENTS),
        Column("status", "choice", required=True, choices=_same("pending", "confirmed", "failed")),
        Column("amount", "money", required=True),
        _money("processing_fee"),
        _instant("created_at"),
        _instant("confirmed_at"),
        _UPDATED,
    ),
)
REFUNDS = FileFormat(
    "refunds",
    "refund_id",
    (
        Column("refund_id", "whole", required=True),
        Column("order_id", "whole", required=True),
        Column("payment_id", "whole"),
        Column("event_id", "event"),
        _ROW_TIME_ZONE,
        _CURRENCY,
        Column("provider", "choice", choices=_PROVIDERS),
        Column("instrument", "choice", choices=_INSTRUMENTS),
        Column(
            "status", "choice", required=True, choices=_same("requested", "succeeded", "failed")
        ),
        Column("amount", "money", required=True),
        _money("retained_fee"),
        _money("platform_fee_returned"),
        _money("processing_fee_returned"),
        _text("reason"),
        _instant("requested_at"),
        _instant("succeeded_at"),
        _instant("failed_at"),
        _UPDATED,
    ),
)
# In dependency order: each is checked against the ones before it.
FORMATS = (ORGANIZERS, EVENTS, TICKET_TYPES, ORDERS, TICKETS, PAYMENTS, REFUNDS)


def bind(file_format: FileFormat, header: Sequence[str]) -> tuple[list[Bound], list[str]]:
    """Match a header with a format.

    Returns:
        Where each column of the format stands, and the file's columns that are not used.

    Raises:
        HeaderError: a column is missing, or two say the same thing.
    """
    wrong = [f"column {name!r} occurs twice" for name in dict.fromkeys(header)
             if header.count(name) > 1]  # fmt: skip
    positions = {name: index for index, name in enumerate(header)}
    used: set[str] = set()
    bounds = []
    for column in file_format.columns:
        plain, local = _candidates(column)
        found = [name for name in plain if name in positions]
        found_local = [name for name in local if name in positions]
        wrong += [
            f"columns {', '.join(names)} say the same thing; keep one"
            for names in (found, found_local)
            if len(names) > 1
        ]
        if column.required and not found and not found_local:
            wrong.append(f"no column for {column.staged}; name it {' or '.join((*plain, *local))}")
        used.update(found, found_local)
        bounds.append(
            Bound(
                column,
                positions[found[0]] if found else None,
                bool(found) and found[0].endswith(("_minor", "_utc")),
                positions[found_local[0]] if found_local else None,
            )
        )
    if wrong:
        raise HeaderError(f"{file_format.name}: {'; '.join(wrong)}")
    return bounds, [name for name in header if name not in used]


def _candidates(column: Column) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the plain column and of the ``*_local`` one."""
    if column.kind == "money":
        return tuple(f"{name}{suffix}" for name in column.names for suffix in ("_minor", "")), ()
    if column.kind == "instant":
        return (
            tuple(f"{name}{suffix}" for name in column.names for suffix in ("", "_utc")),
            tuple(f"{name}_local" for name in column.names),
        )
    return column.names, ()
