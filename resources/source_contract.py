"""The source contract: the canonical columns that extraction reads, fact by fact.

Belongs here: name, type and meaning of every column a file in ``resources/source_sql`` must return,
which of its instants decide the reporting days a row belongs to, and what makes a row unusable.
Adopters edit those files; this one only to add a value to a closed domain. Does not belong here:
connections and statements (``resources.source``), or what becomes of unusable rows
(``resources.quarantine``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

SourceType = Literal["bigint", "text", "boolean", "timestamptz", "date"]
BUYER_IDENTITY = "buyer_identity"
BUYER_KEY = "buyer_key"


MAX_MINOR_UNITS = 10**15
"""Largest amount of one row, in minor units: sums of millions of rows stay within 64 bits."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Nothing happened before; an instant of 1970 is a missing one."""
LATEST_AFTER_NOW = timedelta(days=1)
"""How far an instant may be ahead of the source's clock."""


class Reason(StrEnum):
    """Why a row cannot be used, said of one of its columns."""

    EMPTY = "is empty"
    NOT_A_NUMBER = "is not a finite number"
    SUB_MINOR = "is finer than the minor unit"
    OUT_OF_BOUNDS = "is beyond 10^15 minor units"
    NEGATIVE = "is negative"
    UNKNOWN_CURRENCY = "is not an ISO 4217 currency"
    FOREIGN_CURRENCY = "is not the currency of its event"
    UNKNOWN_ORGANIZER = "is of no known organizer"
    UNKNOWN_EVENT = "is of no known event"
    UNKNOWN_TICKET_TYPE = "is of no known ticket type"
    TOO_EARLY = "is before the year 2000"
    IN_FUTURE = "is more than a day ahead of the source's clock"
    UNKNOWN_VALUE = "is not a value of the contract"


@dataclass(frozen=True)
class SourceColumn:
    """One canonical column, and what its values must be for a row to be used.

    Attributes:
        nullable: may be NULL.
        pii: identifies a person; its values are shown nowhere.
        money: minor units, not negative; ``numeric`` at the source is read exactly.
        count: not negative.
        past: an instant that has happened: not before 2000, not ahead of the source's clock.
        refers_to: the catalogue fact whose key it is.
        values: its closed domain; any other value stops the extraction. Empty: an open domain.
    """

    name: str
    type: SourceType
    description: str
    nullable: bool = False
    pii: bool = False
    money: bool = False
    count: bool = False
    past: bool = False
    refers_to: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fact:
    """One kind of fact and the lake table it fills.

    Attributes:
        name: the file ``resources/source_sql/<name>.sql``; the lake table is ``raw_<name>``.
        description: what one row is.
        columns: the canonical columns, in order.
        days: the columns whose reporting days a row belongs to. A row is stored once for each
            distinct day; none for a catalogue, which is stored whole.
        keys: the columns that identify a row; the first column if empty.
    """

    name: str
    description: str
    columns: tuple[SourceColumn, ...]
    days: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """Lake table and Dagster asset."""
        return f"raw_{self.name}"

    @property
    def row_key(self) -> str:
        """SQL text of a row's key, the same in DuckDB and Postgres."""
        return f"concat_ws('/', {', '.join(self.keys or (self.columns[0].name,))})"

    @property
    def is_catalogue(self) -> bool:
        """Whether it is stored whole instead of by reporting day."""
        return not self.days

    @property
    def is_pii(self) -> bool:
        """Whether the table may hold names, e-mails and phones."""
        return self.name == "attendees"


def _id(
    name: str, description: str, *, nullable: bool = False, refers_to: str | None = None
) -> SourceColumn:
    return SourceColumn(name, "bigint", description, nullable, refers_to=refers_to)


def _count(name: str, description: str, *, nullable: bool = False) -> SourceColumn:
    return SourceColumn(name, "bigint", description, nullable, count=True)


def _money(name: str, description: str) -> SourceColumn:
    return SourceColumn(
        name, "bigint", f"{description} In minor units of the currency.", money=True
    )


def _at(name: str, description: str, *, nullable: bool = False, past: bool = True) -> SourceColumn:
    return SourceColumn(name, "timestamptz", description, nullable, past=past)


def _text(
    name: str, description: str, *, nullable: bool = False, values: tuple[str, ...] = ()
) -> SourceColumn:
    return SourceColumn(name, "text", description, nullable, values=values)


_ORDER = _id("order_id", "Order it belongs to.")
_EVENT = _id("event_id", "Event it belongs to.", refers_to="events")
_TICKET_TYPE = _id("ticket_type_id", "Ticket type.", refers_to="ticket_types")
_CURRENCY = _text("currency", "ISO 4217 code.")
_TEST = SourceColumn("is_test", "boolean", "Belongs to an order of the platform's test mode.")
_RECORDED = _at("recorded_at", "When the platform last wrote the row.")
_SOLD = _at("sold_at", "When the order was completed.", nullable=True)
_PROVIDER = _text(
    "provider",
    "Payment provider.",
    values=("MPESA", "PESAPAL", "PAYHERO", "CARD", "CASH"),
)
_INSTRUMENT = _text(
    "instrument",
    "What the buyer paid with.",
    values=("mpesa", "airtel", "visa", "mastercard", "bank", "cash"),
)

FACTS: dict[str, Fact] = {
    fact.name: fact
    for fact in (
        Fact(
            "organizers",
            "Organizers, as they are now.",
            (
                _id("organizer_id", "Key."),
                _text("name", "Name."),
                _text("country", "Country.", nullable=True),
            ),
        ),
        Fact(
            "events",
            "Events, as they are now.",
            (
                _id("event_id", "Key."),
                _id("organizer_id", "Organizer.", refers_to="organizers"),
                _text("name", "Name."),
                _text("category", "Kind of event.", nullable=True),
                _text("venue", "Where it takes place.", nullable=True),
                _text("time_zone", "IANA time zone of the venue."),
                _CURRENCY,
                _count("capacity", "Admissions that can be sold.", nullable=True),
                _at(
                    "on_sale_at",
                    "Start of sales; NULL means always on sale.",
                    nullable=True,
                    past=False,
                ),
                _at("starts_at", "Start of the event.", nullable=True, past=False),
                _at("ends_at", "End of the event.", nullable=True, past=False),
                _text(
                    "status",
                    "State of the event on the platform.",
                    values=("draft", "on_sale", "sold_out", "completed", "cancelled"),
                ),
                _at("cancelled_at", "When the event was cancelled.", nullable=True, past=False),
            ),
        ),
        Fact(
            "ticket_types",
            "Ticket types, as they are now.",
            (
                _id("ticket_type_id", "Key."),
                _EVENT,
                _text("name", "Name."),
                _text("kind", "What it entitles to.", values=("admission", "add_on", "donation")),
                _money("price_minor", "List price."),
                _CURRENCY,
                _count("quantity", "How many can be sold.", nullable=True),
            ),
        ),
        Fact(
            "orders",
            "Orders on each reporting day on which they were placed or changed state.",
            (
                _id("order_id", "Key."),
                _EVENT,
                _text("channel", "Where the order was made, for example web."),
                _CURRENCY,
                _money(
                    "discount_minor", "Order-level discount, not in the tickets' charged prices."
                ),
                _money("buyer_fees_minor", "Fees charged to the buyer on top."),
                _money("tax_minor", "Tax charged to the buyer on top."),
                _money("total_minor", "What the buyer is charged in all."),
                _money("platform_fee_minor", "The platform's fee for the order."),
                _TEST,
                _at("placed_at", "When the order was placed."),
                _at(
                    "completed_at", "When it was fully paid, or free and confirmed.", nullable=True
                ),
                _at("cancelled_at", "When it was cancelled.", nullable=True),
                _at("expired_at", "When it expired unpaid.", nullable=True),
                _RECORDED,
                SourceColumn(
                    BUYER_IDENTITY,
                    "text",
                    "E-mail, else phone, else account of the buyer; stored only as buyer_key.",
                    nullable=True,
                    pii=True,
                ),
            ),
            days=("placed_at", "completed_at", "cancelled_at", "expired_at"),
        ),
        Fact(
            "tickets",
            "Tickets, add-ons and donations on the day of their sale and of their cancellation.",
            (
                _id("ticket_id", "Key."),
                _ORDER,
                _EVENT,
                _TICKET_TYPE,
                _CURRENCY,
                _money("list_price_minor", "List price."),
                _money("charged_minor", "Price charged, before order-level discount."),
                SourceColumn("is_comp", "boolean", "Complimentary."),
                _at("issued_at", "When its order was completed."),
                _at("cancelled_at", "When it was cancelled.", nullable=True),
                _money(
                    "unsold_minor",
                    "Part of the order's total un-sold by the cancellation: charged price and its "
                    "share of order discount, fees and tax; 0 while not cancelled.",
                ),
                _money("retained_fee_minor", "What is kept of unsold_minor."),
                _TEST,
                _RECORDED,
            ),
            days=("issued_at", "cancelled_at"),
        ),
        Fact(
            "attendees",
            "Contact data of ticket holders on the day of the sale; the only lake table with PII.",
            (
                _id("ticket_id", "Ticket."),
                _EVENT,
                SourceColumn("attendee_name", "text", "Name.", nullable=True, pii=True),
                SourceColumn("attendee_email", "text", "E-mail.", nullable=True, pii=True),
                SourceColumn("attendee_phone", "text", "Phone.", nullable=True, pii=True),
                SourceColumn("contact_consent", "boolean", "The organizer may contact the holder."),
                _at("issued_at", "When the ticket's order was completed."),
                _RECORDED,
            ),
            days=("issued_at",),
        ),
        Fact(
            "payments",
            "Confirmed payments.",
            (
                _id("payment_id", "Key."),
                _ORDER,
                _EVENT,
                _PROVIDER,
                _INSTRUMENT,
                _CURRENCY,
                _money("amount_minor", "Amount received."),
                _money("processing_fee_minor", "The provider's fee."),
                _TEST,
                _at("confirmed_at", "When the money was confirmed."),
                _RECORDED,
            ),
            days=("confirmed_at",),
        ),
        Fact(
            "refunds",
            "Refunds that succeeded.",
            (
                _id("refund_id", "Key."),
                _ORDER,
                _EVENT,
                _PROVIDER,
                _INSTRUMENT,
                _CURRENCY,
                _money("amount_minor", "Amount returned to the buyer."),
                _money("platform_fee_returned_minor", "Platform fee returned to the organizer."),
                _money(
                    "processing_fee_returned_minor", "Processing fee returned to the organizer."
                ),
                _TEST,
                _at("succeeded_at", "When the refund succeeded."),
                _SOLD,
                _RECORDED,
            ),
            days=("succeeded_at",),
        ),
        Fact(
            "disputes",
            "Disputed payments on the day of withdrawal and of reinstatement.",
            (
                _id("dispute_id", "Key."),
                _ORDER,
                _EVENT,
                _PROVIDER,
                _INSTRUMENT,
                _CURRENCY,
                _money("amount_minor", "Amount disputed."),
                _money("fee_minor", "The provider's fee for the dispute."),
                _TEST,
                _at("withdrawn_at", "When the bank withdrew the money."),
                _at("reinstated_at", "When the bank gave it back.", nullable=True),
                _SOLD,
                _RECORDED,
            ),
            days=("withdrawn_at", "reinstated_at"),
        ),
        Fact(
            "check_ins",
            "Scans of tickets at the gate.",
            (
                _id("check_in_id", "Key."),
                _id("ticket_id", "Ticket scanned."),
                _ORDER,
                _EVENT,
                _TICKET_TYPE,
                _TEST,
                _at("scanned_at", "When the ticket was scanned."),
                _RECORDED,
            ),
            days=("scanned_at",),
        ),
        Fact(
            "checkouts",
            "Checkouts on the day they were started.",
            (
                _id("checkout_id", "Key."),
                _EVENT,
                _id("order_id", "Order it became.", nullable=True),
                _text("channel", "Where it was started, for example web."),
                _TEST,
                _at("started_at", "When it was started."),
                _at("converted_at", "When it became an order.", nullable=True),
                _RECORDED,
            ),
            days=("started_at",),
        ),
        Fact(
            "page_views",
            "Views and visitors of event pages per reporting day and channel.",
            (
                _EVENT,
                SourceColumn("view_date", "date", "Reporting day."),
                _text("channel", "Where the page was viewed, for example web."),
                _count("page_views", "Views."),
                _count("visitors", "Visitors."),
                _RECORDED,
            ),
            days=("view_date",),
            keys=("event_id", "view_date", "channel"),
        ),
    )
}

CATALOGUE: tuple[Fact, ...] = tuple(f for f in FACTS.values() if f.is_catalogue)
DAILY_FACTS: tuple[Fact, ...] = tuple(f for f in FACTS.values() if not f.is_catalogue)
LEDGER_FACTS: tuple[str, ...] = tuple(f.name for f in DAILY_FACTS if not f.is_pii)
"""Names of the facts whose rows are in the ledger: a day needs all of them."""
