"""Serves `mesh.auth.v1.CredentialService`: what the mesh proves itself with to others."""

from __future__ import annotations

from typing import Final

from mesh.auth.v1 import credential_pb2, credential_service_pb2, credential_service_pb2_grpc
from meshkit.filtering.fields import Kind
from meshkit.interceptors.chain import Context
from meshkit.paging import Ordering, SortKey, keyset
from meshkit.security.principal import current_principal
from services.auth.convert.credentials import credential_to_proto, proof_from_proto
from services.auth.usecases.credentials import ServiceCredentials

_BY_NAME: Final = Ordering((SortKey("name", Kind.STRING, descending=False),))


class CredentialServicer(credential_service_pb2_grpc.CredentialServiceServicer):
    """Serves `mesh.auth.v1.CredentialService`."""

    def __init__(self, credentials: ServiceCredentials) -> None:
        self._credentials = credentials

    async def PutServiceCredential(
        self, request: credential_service_pb2.PutServiceCredentialRequest, context: Context
    ) -> credential_pb2.ServiceCredential:
        """Store a credential in place of an earlier one."""
        wanted = request.service_credential
        tenant = current_principal().tenant
        stored = await self._credentials.put(tenant, wanted.name, *proof_from_proto(wanted))
        return credential_to_proto(stored)

    async def GetServiceCredential(
        self, request: credential_service_pb2.GetServiceCredentialRequest, context: Context
    ) -> credential_pb2.ServiceCredential:
        """Get one, without its secret."""
        tenant = current_principal().tenant
        return credential_to_proto(await self._credentials.get(tenant, request.name))

    async def ListServiceCredentials(
        self, request: credential_service_pb2.ListServiceCredentialsRequest, context: Context
    ) -> credential_service_pb2.ListServiceCredentialsResponse:
        """List the tenant's, without their secrets."""
        tenant = current_principal().tenant
        wanted = keyset(request.page_size, request.page_token, _BY_NAME, tenant)
        page = await self._credentials.list(tenant, wanted)
        return credential_service_pb2.ListServiceCredentialsResponse(
            service_credentials=[credential_to_proto(each) for each in page.items],
            next_page_token=page.next_page_token,
        )

    async def DeleteServiceCredential(
        self, request: credential_service_pb2.DeleteServiceCredentialRequest, context: Context
    ) -> credential_service_pb2.DeleteServiceCredentialResponse:
        """Forget one."""
        await self._credentials.delete(current_principal().tenant, request.name)
        return credential_service_pb2.DeleteServiceCredentialResponse()

    async def ResolveServiceCredential(
        self, request: credential_service_pb2.ResolveServiceCredentialRequest, context: Context
    ) -> credential_pb2.ServiceCredential:
        """Hand one with its secret to a service that calls out."""
        found, secret = await self._credentials.resolve(current_principal(), request.name)
        return credential_to_proto(found, secret)
