"""What callers want of the credentials for external services, one method each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import PermissionDenied
from meshkit.paging import Keyset, KeysetPage, keyset_page
from meshkit.security.principal import Principal
from services.auth.domain.credentials import ServiceCredential, beside, place
from services.auth.domain.proofs import Proof, checked, kind_of
from services.auth.envelopes import Envelopes
from services.auth.errors import ServiceCredentialNotFound
from services.auth.store import credentials as store

log = structlog.get_logger()


class ServiceCredentials:
    """Keeps credentials sealed, and hands them only to the services that call out.

    `callers` are the subjects of those services.
    """

    def __init__(self, database: Database, envelopes: Envelopes, *, callers: Sequence[str]) -> None:
        self._database = database
        self._envelopes = envelopes
        self._callers = frozenset(callers)

    async def put(self, tenant: str, name: str, proof: Proof, secret: str) -> ServiceCredential:
        """Store a credential in place of an earlier one of the name.

        Raises:
            InvalidArgument: The proof and its secret make no sense.
        """
        kept = checked(proof, secret)
        envelope = self._envelopes.seal(
            secret, place=place(tenant, name), beside=beside(tenant, name, kept)
        )

        async def work(connection: AsyncConnection) -> tuple[datetime, datetime]:
            return await store.put_credential(connection, tenant, name, kept, envelope)

        created, updated = await self._database.transaction(work)
        log.info("service credential stored", name=name, kind=kind_of(kept))
        return ServiceCredential(tenant, name, kept, created, updated)

    async def get(self, tenant: str, name: str) -> ServiceCredential:
        """Return a credential of the tenant, without its secret.

        Raises:
            ServiceCredentialNotFound: There is none.
        """
        found = await self._database.read(lambda tx: store.get_credential(tx, tenant, name))
        if found is None:
            raise ServiceCredentialNotFound
        return found

    async def list(self, tenant: str, page: Keyset) -> KeysetPage[ServiceCredential]:
        """Return a page of the tenant's credentials, without their secrets."""
        found = await self._database.read(lambda tx: store.list_credentials(tx, tenant, page))
        return keyset_page(found, page, lambda each: {"name": each.name})

    async def delete(self, tenant: str, name: str) -> None:
        """Forget a credential of the tenant, if there is one."""
        await self._database.transaction(lambda tx: store.delete_credential(tx, tenant, name))
        log.info("service credential deleted", name=name)

    async def resolve(self, caller: Principal, name: str) -> tuple[ServiceCredential, str]:
        """Return a credential of the tenant that a service acts for, with its secret.

        Raises:
            PermissionDenied: The caller is no service that calls out, or acts for nobody.
            ServiceCredentialNotFound: There is none.
            EnvelopeBroken: What is stored was altered.
        """
        if caller.actor not in self._callers:
            raise PermissionDenied(
                "Credentials are handed only to services that call out for a tenant, by a call"
                " that names whom they act for."
            )
        found = await self._database.read(lambda tx: store.find_secret(tx, caller.tenant, name))
        if found is None:
            raise ServiceCredentialNotFound
        credential, envelope = found
        return credential, self._envelopes.open(
            envelope,
            place=place(caller.tenant, name),
            beside=beside(caller.tenant, name, credential.proof),
        )
