"""Decides whether the caller may: deny by default."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from meshkit.errors import PermissionDenied
from meshkit.interceptors.chain import Call, Interceptor
from meshkit.security.rules import Rule

log = structlog.get_logger()


class Authorize(Interceptor):
    """Holds each call against the rule that its method declares."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = rules

    async def admit(self, call: Call) -> None:
        """Refuse the call unless the caller holds the permission.

        Raises:
            PermissionDenied: It doesn't, or the method declares no rule.
        """
        rule = self._rules.get(call.method)
        if rule is not None and rule.public:
            return
        allowed = rule is not None and call.principal is not None
        allowed = allowed and call.principal.may(rule.permission)  # type: ignore[union-attr]  # both are set here
        if not allowed:
            self._log_denial(call, rule)
            raise _denied(rule)

    def _log_denial(self, call: Call, rule: Rule | None) -> None:
        log.info(
            "decision",
            method=call.method,
            permission=rule.permission if rule else None,
            allowed=False,
            actor=call.principal.actor if call.principal else None,
        )


def _denied(rule: Rule | None) -> PermissionDenied:
    if rule is None:
        return PermissionDenied("This method is closed.")
    return PermissionDenied(
        f"This credential lacks the permission {rule.permission}.",
        metadata={"permission": rule.permission},
    )
