"""Who sees which personal data: one policy, used by exports and the read API alike.

Belongs here: roles, the policy table, and the SQL that masks a column. Does not belong here: which
columns a dataset has (``exports.datasets``), or recording who saw what.

A masked value is a constant: nothing of the value is left, not even its length. A pseudonym is the
HMAC that the lake keeps as ``buyer_key``: keyed, and another one for each organizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

MASK = "***"
CONSENT = "contact_consent"
"""Column that says whether the organizer may contact the person."""


class Role(StrEnum):
    """What somebody may do; given by the platform, never by the request."""

    SUPER_ADMIN = "super_admin"
    ADMIN = "admin"
    ORGANIZER = "organizer"
    VIEWER = "viewer"


class Treatment(StrEnum):
    """How a column with personal data is given to a role."""

    CLEAR = "clear"
    REASONED = "clear with a reason, else masked"
    CONSENTED = "clear where consent was given, else masked"
    MASKED = "masked"
    PSEUDONYM = "pseudonym"
    ABSENT = "absent"


class Pii(StrEnum):
    """What kind of personal data a column holds."""

    NAME = "name"
    EMAIL = "email"
    PHONE = "phone"
    PSEUDONYM = "pseudonym"


@dataclass(frozen=True, kw_only=True)
class Requester:
    """Who asks.

    Attributes:
        role: what they may do.
        organizer_id: whose events they see; required for an organizer, possible for a viewer.
        reason: why a super admin needs clear data; without one they see what an admin sees.
    """

    role: Role
    organizer_id: int | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        """Refuse a scope that would be wider, or narrower, than the role's."""
        if self.role is Role.ORGANIZER and self.organizer_id is None:
            raise ValueError("an organizer is asked for without organizer_id")
        if self.role in (Role.ADMIN, Role.SUPER_ADMIN) and self.organizer_id is not None:
            raise ValueError(f"{self.role} sees every organizer; organizer_id must be None")

    @property
    def has_reason(self) -> bool:
        """Whether a reason was given that is more than blanks."""
        return bool(self.reason and self.reason.strip())


_CONTACT: Mapping[Role, Treatment] = {
    Role.SUPER_ADMIN: Treatment.REASONED,
    Role.ADMIN: Treatment.MASKED,
    Role.ORGANIZER: Treatment.CONSENTED,
    Role.VIEWER: Treatment.ABSENT,
}
_PSEUDONYM: Mapping[Role, Treatment] = {
    Role.SUPER_ADMIN: Treatment.PSEUDONYM,
    Role.ADMIN: Treatment.PSEUDONYM,
    Role.ORGANIZER: Treatment.PSEUDONYM,
    Role.VIEWER: Treatment.ABSENT,
}

POLICY: Mapping[tuple[str, str], Mapping[Role, Treatment]] = {
    ("attendees", "attendee_name"): _CONTACT,
    ("attendees", "attendee_email"): _CONTACT,
    ("attendees", "attendee_phone"): _CONTACT,
    ("attendees", "attendee_key"): _PSEUDONYM,
    ("orders", "buyer_key"): _PSEUDONYM,
    ("requests", "buyer_key"): _PSEUDONYM,
    ("movements", "buyer_key"): _PSEUDONYM,
}
"""Every column with personal data, by dataset and column. All others are clear to everybody."""


def treatment(dataset: str, column: str, requester: Requester) -> Treatment:
    """How a column is given to a requester; never ``REASONED``, which is decided here."""
    cell = POLICY.get((dataset, column))
    if cell is None:
        return Treatment.CLEAR
    given = cell[requester.role]
    if given is Treatment.REASONED:
        return Treatment.CLEAR if requester.has_reason else Treatment.MASKED
    return given


def disclosed(dataset: str, columns: Iterable[str], requester: Requester) -> tuple[str, ...]:
    """Columns with personal data that a requester is given clear, at least in some rows."""
    return tuple(
        column
        for column in columns
        if (dataset, column) in POLICY
        and treatment(dataset, column, requester) in (Treatment.CLEAR, Treatment.CONSENTED)
    )


def mask_sql(column: str, given: Treatment) -> str:
    """Expression of a column as a requester may see it; a missing value stays missing.

    Raises:
        ValueError: the column is absent for them.
    """
    masked = f"WHEN {column} IS NOT NULL THEN '{MASK}' END"
    match given:
        case Treatment.CLEAR | Treatment.PSEUDONYM:
            return column
        case Treatment.CONSENTED:
            return f"CASE WHEN {CONSENT} THEN {column} {masked}"
        case Treatment.MASKED:
            return f"CASE {masked}"
        case _:
            raise ValueError(f"{column} is {given} and must not be read")


def search_sql(column: str, given: Treatment, *, whole: bool = False) -> str | None:
    """Condition that the bound text ``$search`` is in a column, as far as the requester sees it.

    Args:
        whole: the text must be the whole value, as of a key.

    Returns:
        None where they do not see it: a search must not tell what is masked.
    """
    text = f"lower(CAST({column} AS VARCHAR))"
    found = f"{text} = lower($search)" if whole else f"contains({text}, lower($search))"
    match given:
        case Treatment.CLEAR:
            return f"coalesce({found}, false)"
        case Treatment.CONSENTED:
            return f"coalesce({CONSENT} AND {found}, false)"
        case _:
            return None
