"""Who calls, as a verified token says.

Belongs here: the caller's account, role and organizer. Does not belong here: how a token is checked
(``api.tokens``), or what a role may do (``api.policy``, ``exports.masking``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from exports.masking import Requester, Role


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller.

    Attributes:
        account: who it is on the platform; an e-mail address or a number. Never logged.
        organizer_id: whose numbers are seen; None: everybody's.
        scope: what decides which numbers are seen and how they are masked; equal for two callers
            who may share an answer.
        fingerprint: stands for the account where it must not be readable.
    """

    account: str
    role: Role
    organizer_id: int | None = None
    scope: str = field(init=False, compare=False)
    fingerprint: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a scope that does not go with the role; ``ValueError`` says why."""
        Requester(role=self.role, organizer_id=self.organizer_id)
        if self.organizer_id is not None and self.organizer_id < 1:
            raise ValueError("organizer_id is a positive number")
        set_once = object.__setattr__
        set_once(self, "scope", f"{self.role.value}/{self.organizer_id or '*'}")
        digest = blake2b(self.account.encode(), digest_size=12)
        set_once(self, "fingerprint", digest.hexdigest())

    def requester(self, reason: str | None = None) -> Requester:
        """The caller as the masking policy knows them.

        Args:
            reason: why a super admin needs clear personal data.
        """
        return Requester(role=self.role, organizer_id=self.organizer_id, reason=reason)
