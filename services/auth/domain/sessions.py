"""Sessions, and the family of refresh tokens that each of them is.

Of a family at most two tokens work at any time. One is the current one. The other is the one
that was exchanged for it, for a grace, as its answer may have been lost; if that one does come
again, it is over, and what it gave first works beside what it gives now: nobody knows which of
the two answers has arrived.

    presented                        current   predecessor
    current                          new       the current one, exchanged now
    predecessor, exchanged lately    new       the current one, not exchanged yet
    predecessor, not exchanged yet   new       itself, exchanged now
    any other one                    the family ends: it was exchanged before, or its twin was

Of a thief and the owner, who hold the same token, the second to come after the grace ends the
family for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Family:
    """The refresh tokens of a session that may still work, as digests.

    Attributes:
        replace_time: When the predecessor was exchanged; None if it wasn't yet.
    """

    current: bytes
    predecessor: bytes | None = None
    replace_time: datetime | None = None

    def accepts(self, token: bytes, now: datetime, grace: timedelta) -> bool:
        """Tell whether a token works; one that was issued and doesn't has had its turn."""
        if token == self.current:
            return True
        if token != self.predecessor:
            return False
        return self.replace_time is None or now < self.replace_time + grace

    def exchanged(self, token: bytes, successor: bytes, now: datetime) -> Family:
        """Return the family after one of its tokens that work was exchanged for `successor`."""
        comes_again = token != self.current and self.replace_time is not None
        if comes_again:
            return Family(successor, self.current)
        return Family(successor, token, now)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session goes on: since it was last refreshed, and since the sign-in."""

    idle: timedelta
    longest: timedelta

    def expiry(self, create_time: datetime, now: datetime) -> datetime:
        """Return when a session that is refreshed now ends unless it is refreshed again."""
        return min(now + self.idle, create_time + self.longest)


@dataclass(frozen=True, slots=True)
class Session:
    """What goes on from a sign-in until its refresh tokens end.

    Attributes:
        address: Network address that signed in; empty if unknown.
        user_agent: Program that signed in, as it named itself.
        end_time: When it was ended; None if it goes on or has merely expired.
        reused: Whether it was ended because a refresh token came a second time.
    """

    id: UUID
    tenant: str
    user_id: UUID
    create_time: datetime
    refresh_time: datetime
    expire_time: datetime
    address: str
    user_agent: str
    end_time: datetime | None = None
    reused: bool = False

    def goes_on_at(self, now: datetime) -> bool:
        """Tell whether it has neither ended nor expired."""
        return self.end_time is None and now < self.expire_time
