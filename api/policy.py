"""Who may call what: one table.

Belongs here: groups of endpoints and the roles that may call them. Does not belong here: which rows
a caller sees, which Postgres decides a second time (row-level security, ``api.database``), or which
columns (``exports.masking``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from api.principal import Principal
from exports.masking import Role

_OPERATORS = frozenset({Role.ADMIN, Role.SUPER_ADMIN})
_EVERYBODY = frozenset(Role)


class Access(StrEnum):
    """A group of endpoints that the same callers may use."""

    ADMIN_ANALYTICS = "numbers of all organizers"
    TRUST = "freshness, restatements and reconciliation of all organizers"
    ADMIN_EXPORTS = "exports of all organizers"
    ADHOC_SQL = "ad-hoc SQL"
    OPERATIONS = "cache and database"
    ORGANIZER_ANALYTICS = "numbers of an organizer"
    ORGANIZER_EXPORTS = "exports of an organizer"


POLICY: Mapping[Access, frozenset[Role]] = {
    Access.ADMIN_ANALYTICS: _OPERATORS | {Role.VIEWER},
    Access.TRUST: _OPERATORS | {Role.VIEWER},
    Access.ADMIN_EXPORTS: _OPERATORS,
    Access.ADHOC_SQL: _OPERATORS,
    Access.OPERATIONS: _OPERATORS,
    Access.ORGANIZER_ANALYTICS: _EVERYBODY,
    Access.ORGANIZER_EXPORTS: _OPERATORS | {Role.ORGANIZER},
}
"""The roles of each group."""

OF_ONE_ORGANIZER = frozenset({Access.ORGANIZER_ANALYTICS, Access.ORGANIZER_EXPORTS})
"""Groups for callers who see one organizer; all others are for those who see every organizer."""


def permits(access: Access, principal: Principal) -> bool:
    """Whether a caller may use a group of endpoints."""
    if principal.role not in POLICY[access]:
        return False
    return access in OF_ONE_ORGANIZER or principal.organizer_id is None
