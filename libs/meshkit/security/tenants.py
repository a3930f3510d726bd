"""Acting in another tenant than the credential's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from meshkit.errors import PermissionDenied
from meshkit.security.principal import Principal

PERMISSION: Final = "mesh:tenants"
TENANT_KEY: Final = "x-mesh-tenant"
"""Metadata by which a caller names the tenant that it means."""


def in_tenant(principal: Principal, tenant: str) -> Principal:
    """Return the caller as it acts in another tenant.

    Raises:
        PermissionDenied: Its credential is confined to its own, and it lacks `mesh:tenants`.
    """
    if tenant not in principal.tenants and not principal.may(PERMISSION):
        raise PermissionDenied(
            f"This credential may not act in the tenant {tenant!r}: it lacks {PERMISSION}.",
            metadata={"permission": PERMISSION},
        )
    return replace(principal, tenant=tenant)
