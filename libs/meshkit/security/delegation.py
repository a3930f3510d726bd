"""How a service says for whom it calls another.

A service calls with its own token and names the caller it acts for in metadata.
The names count only if the token holds `mesh:delegate`; the gateway strips them
from whatever comes in from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from meshkit.errors import PermissionDenied
from meshkit.security.principal import Principal

PERMISSION: Final = "mesh:delegate"
SUBJECT_KEY: Final = "x-agentmesh-subject"
TENANT_KEY: Final = "x-agentmesh-tenant"
ACTORS_KEY: Final = "x-agentmesh-actors"
"""Who acted for the caller already, the nearest first, parted by spaces."""


def delegated(principal: Principal, metadata: Mapping[str, str]) -> Principal:
    """Return the caller that `principal` acts for, or `principal` if it names none.

    Raises:
        PermissionDenied: It names one but may not act for others.
    """
    tenant = metadata.get(TENANT_KEY)
    if tenant is None:
        return principal
    if not principal.may(PERMISSION):
        raise PermissionDenied(
            f"This credential may not act for others: it lacks {PERMISSION}.",
            metadata={"permission": PERMISSION},
        )
    subject = metadata.get(SUBJECT_KEY, principal.subject)
    before = metadata.get(ACTORS_KEY, "").split()
    actors = (principal.subject, *principal.actors, *before)
    return replace(principal, subject=subject, tenant=tenant, actors=actors)


def delegation_metadata(principal: Principal) -> list[tuple[str, str]]:
    """Return the metadata that names `principal` as the caller acted for."""
    named = [(SUBJECT_KEY, principal.subject), (TENANT_KEY, principal.tenant)]
    if principal.actors:
        named.append((ACTORS_KEY, " ".join(principal.actors)))
    return named
