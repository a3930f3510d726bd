"""What auth has revoked lately, as verifiers need to know it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from meshkit.security.principal import Principal

_KEPT: Final = timedelta(hours=2)
_MOST: Final = 100_000


class Revocation(NamedTuple):
    """A credential that has ended, or allows something else than before.

    Attributes:
        credential: Id of an API key or a session; or `user:<id>`, `key:<id>`, `tenant:<name>`.
        not_before: What was issued before doesn't work any more.
    """

    credential: str
    not_before: datetime


Listener = Callable[["Revoked"], None]
"""Forgets what has been verified before and is revoked now."""


class Revoked:
    """Remembers revocations for two hours, longer than any token lives; at most 100,000."""

    def __init__(self) -> None:
        self._not_before: dict[str, datetime] = {}
        self._listeners: list[Listener] = []

    def on_news(self, listener: Listener) -> None:
        """Have a listener told whenever something was revoked."""
        self._listeners.append(listener)

    def take(self, revocations: Iterable[Revocation]) -> None:
        """Take revocations in; those that are known already change nothing."""
        news = [each for each in revocations if self._is_news(each)]
        if not news:
            return
        for credential, not_before in news:
            self._not_before.pop(credential, None)
            self._not_before[credential] = not_before
        self._forget_old()
        for listener in self._listeners:
            listener(self)

    def ends(self, principal: Principal) -> bool:
        """Tell whether what somebody calls with is revoked.

        Of an API key, which is not issued anew, whether it is to be checked anew.
        """
        if not self._not_before:
            return False
        issued = principal.issued_at
        for credential in _credentials_of(principal):
            not_before = self._not_before.get(credential)
            if not_before is not None and (issued is None or issued < not_before):
                return True
        return False

    def _is_news(self, revocation: Revocation) -> bool:
        known = self._not_before.get(revocation.credential)
        return known is None or known < revocation.not_before

    def _forget_old(self) -> None:
        earliest = datetime.now(UTC) - _KEPT
        for credential in [each for each, time in self._not_before.items() if time < earliest]:
            del self._not_before[credential]
        while len(self._not_before) > _MOST:
            del self._not_before[next(iter(self._not_before))]


def _credentials_of(principal: Principal) -> Iterator[str]:
    yield principal.credential_id
    yield principal.subject
    yield f"tenant:{principal.tenant}"
    yield from principal.actor_credentials
    yield from principal.actors
