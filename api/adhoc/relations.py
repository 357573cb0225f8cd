"""Which finished tables ad-hoc SQL may read, and that none shows a person.

Belongs here: the declaration, for every column of the ``reporting`` schema, that it is free of
personal data. Does not belong here: how personal data is masked (``exports.masking``).

An admin reads only tables all of whose columns are declared; a super admin reads every table. Today
these are the same tables, so there is nothing to mask. A new column takes its table from admins,
and a test fails, until somebody has decided about it: declare it here or, if it holds personal
data, make a view of the table without it, declare that, and grant it to ``boxoffice_adhoc``.
"""

from __future__ import annotations

from api.adhoc.gate import Relations
from exports.masking import Role
from metrics.registry import METRICS
from warehouse.tables import metadata

# Sums and counts over buyers; the smallest grain is one event's day, which has no person's name.
_METRICS = frozenset(METRICS)
_KEYS = frozenset({"organizer_id", "event_id", "currency"})

FREE_OF_PERSONAL_DATA: Relations = {
    "daily_metrics": _METRICS | _KEYS | {"business_date"},
    "daily_payments": _METRICS | _KEYS | {"business_date", "provider", "instrument"},
    "daily_ticket_types": _METRICS
    | _KEYS
    | {"business_date", "ticket_type_id", "ticket_type_name", "ticket_type_kind"},
    "weekly_revenue": _METRICS | _KEYS | {"week_start", "iso_week"},
    "monthly_revenue": _METRICS | _KEYS | {"month_start"},
    # An organizer's name is that of the business that sells; the platform shows it to everybody.
    "event_summary": _METRICS
    | _KEYS
    | {
        "organizer_name",
        "event_name",
        "category",
        "venue",
        "event_time_zone",
        "status",
        "capacity",
        "on_sale_at",
        "starts_at",
        "ends_at",
        "first_sale_date",
        "last_sale_date",
    },
}


def relations(role: Role) -> Relations:
    """Tables of ``reporting`` that a role may read, each with its columns.

    Raises:
        ValueError: the role may not ask ad-hoc SQL at all.
    """
    if role not in (Role.ADMIN, Role.SUPER_ADMIN):
        raise ValueError(f"{role} may not ask ad-hoc SQL")
    every = {
        table.name: frozenset(table.columns.keys())
        for table in metadata.tables.values()
        if table.schema == "reporting"
    }
    if role is Role.SUPER_ADMIN:
        return every
    return {
        name: columns
        for name, columns in every.items()
        if columns <= FREE_OF_PERSONAL_DATA.get(name, frozenset())
    }
