"""Who asks, and what they may: roles, and the sites that a token is for; pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

Sites = frozenset[int] | None
"""Sites that somebody may see; None for every one, also of those to come."""


class Role(StrEnum):
    """What somebody may do, the least first: each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Greater for who may do more."""
        return _ORDER.index(self)

    def covers(self, needed: "Role") -> bool:
        """Whether somebody with this role may do what needs another one."""
        return self.rank >= needed.rank


_ORDER: Final = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks.

    Attributes:
        name: Of the token, or of whoever a JWT is about; what audit log, alarms and commands call them by.
        role: What they may do.
        sites: Whose devices they may do it with.
        expires_at: When this ends by itself.
        proven: False for whoever comes while nobody has to prove anything; such a name is nobody's.
    """

    name: str
    role: Role
    sites: Sites = None
    expires_at: datetime | None = None
    proven: bool = True

    def may_see(self, site_id: int | None) -> bool:
        """Whether what is of a site is for them; what is of no site is for those only who may see every one."""
        return self.sites is None or (site_id is not None and site_id in self.sites)

    def expired(self, now: datetime) -> bool:
        """Whether it is over at a time."""
        return self.expires_at is not None and now >= self.expires_at


ANYBODY: Final = Principal("anybody", Role.ADMIN, proven=False)
"""Who asks a gateway that is open: it listens on loopback only, and nothing says who may ask."""
