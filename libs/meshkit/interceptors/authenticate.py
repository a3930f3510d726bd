"""Finds out who is calling."""

from __future__ import annotations

from collections.abc import Mapping

from meshkit.errors import Unauthenticated
from meshkit.interceptors.chain import Call, Interceptor
from meshkit.security.credentials import CredentialVerifier
from meshkit.security.delegation import delegated
from meshkit.security.principal import set_current
from meshkit.security.rules import Rule
from meshkit.security.tenants import TENANT_KEY, in_tenant


class Authenticate(Interceptor):
    """Verifies the caller's credential unless the method is public.

    The credential stands in `authorization: Bearer …` or in `x-api-key`.
    """

    def __init__(self, verifier: CredentialVerifier, rules: Mapping[str, Rule]) -> None:
        self._verifier = verifier
        self._rules = rules

    async def admit(self, call: Call) -> None:
        """Make the caller known to the handler and to every log line."""
        rule = self._rules.get(call.method)
        if rule is not None and rule.public:
            set_current(None)
            return
        call.principal = await self._verifier.verify(credential_of(call.metadata))
        call.principal = delegated(call.principal, call.metadata)
        wanted = call.metadata.get(TENANT_KEY)
        if wanted is not None and wanted != call.principal.tenant:
            call.across_tenants = True
            call.principal = in_tenant(call.principal, wanted)
        set_current(call.principal)


def credential_of(metadata: Mapping[str, str]) -> str:
    """Return the credential that the caller sent.

    Raises:
        Unauthenticated: There is none.
    """
    scheme, _, token = metadata.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    api_key = metadata.get("x-api-key", "").strip()
    if api_key:
        return api_key
    raise Unauthenticated(
        "No credential: send an API key or access token as 'authorization: Bearer …'.",
        reason="CREDENTIAL_MISSING",
    )
