"""Puts decisions on record."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, Final

from cachetools import TTLCache

from meshkit.audit.notes import take_notes
from meshkit.audit.record import Decision, record_within_bounds
from meshkit.audit.recorder import Recorder
from meshkit.audit.resources import resource_answered, resource_requested
from meshkit.clock import Clock, SystemClock
from meshkit.errors import (
    DomainError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from meshkit.ids import uuid7
from meshkit.interceptors.chain import Call, Interceptor, Proceed
from meshkit.security.rules import Rule
from meshkit.security.tenants import TENANT_KEY

FORWARDED_KEY: Final = "x-forwarded-for"

_LIMITED_SECONDS = 60.0
_LIMITED_CALLERS = 4096


class Audit(Interceptor):
    """Records once what was decided about each call of a method whose rule says `audit`.

    A unary call is recorded when it is answered, a streaming one when it is admitted. It is
    DENIED if it was refused as unauthenticated or not permitted, by an interceptor or the
    handler, and else ALLOWED, even if it failed then: the reason tells by what.

    Of the methods that are not audited, calls by which somebody acts in another tenant are
    recorded all the same; and of those that are refused to a caller as not permitted, the
    first in a minute for each subject, method and cause.

    Of the refusals by a public method for which no user is known, the first in a minute is
    recorded for each address, method and cause, or anybody could fill the log.

    Not recorded are calls that nothing was decided about: those without a good credential
    of a method that is not public; those of a public method that
    failed otherwise; and those that broke off before they were admitted. Of the calls that a
    rate limit refuses, the first in a minute is recorded for each subject and method.
    """

    def __init__(
        self, recorder: Recorder, rules: Mapping[str, Rule], *, clock: Clock | None = None
    ) -> None:
        self._recorder = recorder
        self._rules = rules
        self._clock = clock or SystemClock()
        self._limited: TTLCache[tuple[str, str, str], None] = TTLCache(
            _LIMITED_CALLERS, _LIMITED_SECONDS, self._clock.monotonic
        )

    def around(self, call: Call, proceed: Proceed) -> Coroutine[Any, Any, Any]:
        """Record the call, if its method is audited.

        Raises:
            Unavailable: There is no room for a record, so the call is not served.
        """
        rule = self._rules.get(call.method)
        if rule is None or not (rule.audit or TENANT_KEY in call.metadata):
            # Not within a coroutine of its own, which each call would pay for.
            return proceed(call)  # type: ignore[return-value]  # what goes on is always a coroutine
        return self._recorded(call, rule, proceed)

    def refused(self, call: Call, error: DomainError) -> None:
        """Record that a call of a method that is not audited was refused, now and then."""
        if not isinstance(error, PermissionDenied | ResourceExhausted) or call.principal is None:
            return
        rule = self._rules.get(call.method)
        if rule is None or rule.audit or TENANT_KEY in call.metadata:
            return
        if not self._is_first(call, error):
            return
        try:
            entry = _Entry(self._recorder, call, rule, self._clock)
        except Unavailable:
            # It is refused anyway.
            return
        entry.put(Decision.DENIED, _refusal(error))

    async def _recorded(self, call: Call, rule: Rule, proceed: Proceed) -> Any:
        entry = _Entry(self._recorder, call, rule, self._clock)
        try:
            answer = await proceed(call)
        except BaseException as error:
            self._put_failure(entry, error)
            raise
        else:
            entry.put(Decision.ALLOWED, entry.grounds, resource_answered(answer))
            return answer
        finally:
            entry.close()

    def _put_failure(self, entry: _Entry, error: BaseException) -> None:
        if isinstance(error, Unauthenticated | PermissionDenied):
            if entry.knows_who or (entry.rule.public and self._is_first(entry.call, error)):
                entry.put(Decision.DENIED, _refusal(error))
        elif isinstance(error, ResourceExhausted) and not entry.decided:
            if self._is_first(entry.call, error):
                entry.put(Decision.DENIED, error.reason)
        elif entry.decided:
            entry.put(Decision.ALLOWED, f"{entry.grounds}; {_failure(error)}")

    def _is_first(self, call: Call, error: DomainError) -> bool:
        who = call.principal.subject if call.principal else _address(call)
        caller = (who, call.method, error.reason)
        first = caller not in self._limited
        if first:
            self._limited[caller] = None
        return first


class _Entry:
    """The place in the log of one call: filled in once, or given back."""

    def __init__(self, recorder: Recorder, call: Call, rule: Rule, clock: Clock) -> None:
        recorder.reserve()
        self._recorder = recorder
        self._clock = clock
        self._open = True
        self._notes = take_notes()
        self.call = call
        self.rule = rule
        self.admitted = False
        call.on_admission = self._admit

    @property
    def grounds(self) -> str:
        """Why the call is allowed."""
        return "public" if self.rule.public else f"held {self.rule.permission}"

    @property
    def knows_who(self) -> bool:
        """Whether it is known who calls, or as whom somebody tries to."""
        return self.call.principal is not None or self._notes.subject is not None

    @property
    def decided(self) -> bool:
        """Whether the call was admitted because of who calls."""
        return self.admitted and not self.rule.public

    def put(self, decision: Decision, reason: str, answered: str = "") -> None:
        """Put the decision on record, unless one is."""
        if not self._open:
            return
        self._open = False
        call, notes, principal = self.call, self._notes, self.call.principal
        resource = notes.resource or resource_requested(call.method, call.received) or answered
        record = record_within_bounds(
            uuid7(),
            self._clock.now(),
            decision,
            tenant=notes.tenant or (principal.tenant if principal else ""),
            subject=notes.subject or (principal.subject if principal else ""),
            actor=" ".join(principal.actors) if principal else "",
            method=call.method,
            resource=resource,
            reason=reason,
            request_id=call.ids.request_id or "",
            address=_address(call),
            service=self._recorder.service,
        )
        self._recorder.record(record)

    def close(self) -> None:
        """Give the place back if nothing was put there."""
        if self._open:
            self._open = False
            self._recorder.release()

    def _admit(self) -> None:
        self.admitted = True
        if self.call.streaming:
            self.put(Decision.ALLOWED, self.grounds)


def _refusal(error: DomainError) -> str:
    permission = error.metadata.get("permission")
    return f"lacked {permission}" if permission else error.reason


def _failure(error: BaseException) -> str:
    if isinstance(error, DomainError):
        return f"failed with {error.reason}"
    return "broke off" if not isinstance(error, Exception) else "failed"


def _address(call: Call) -> str:
    # The gateway appends whom it saw; what stands before, anybody may have written.
    seen = call.metadata.get(FORWARDED_KEY, "").rpartition(",")[2].strip()
    return seen or str(call.context.peer())
