"""Credentials of each kind, and callers of CredentialService."""

from __future__ import annotations

from typing import Any

from grpc import aio

from mesh.auth.v1.credential_pb2 import (
    BearerToken,
    ClientCertificate,
    HeaderKey,
    OAuth2ClientCredentials,
    ServiceCredential,
)
from mesh.auth.v1.credential_service_pb2 import (
    DeleteServiceCredentialRequest,
    GetServiceCredentialRequest,
    ListServiceCredentialsRequest,
    PutServiceCredentialRequest,
    ResolveServiceCredentialRequest,
)
from mesh.auth.v1.credential_service_pb2_grpc import CredentialServiceStub
from meshkit.security.delegation import SUBJECT_KEY, TENANT_KEY
from meshkit.testing.serving import Served
from tests.certificates import certificate, new_key, private_key
from tests.integration.auth.replicas import Replica

KEY = new_key()
SECRET = "the-s3cret-itself"
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "api_key": {"api_key": HeaderKey(header="x-api-key", key=SECRET)},
    "bearer": {"bearer": BearerToken(token=SECRET)},
    "oauth2": {
        "oauth2": OAuth2ClientCredentials(
            token_url="https://login.example.com/token",
            client_id="mesh",
            client_secret=SECRET,
            scopes=["read", "write"],
        )
    },
    "mtls": {
        "mtls": ClientCertificate(certificate_chain=certificate(KEY), private_key=private_key(KEY))
    },
}
SECRET_FIELDS = {
    "api_key": "key",
    "bearer": "token",
    "oauth2": "client_secret",
    "mtls": "private_key",
}


class Caller:
    """Calls with one key, for another tenant if it says so."""

    def __init__(self, channel: aio.Channel, for_tenant: str = "") -> None:
        self._stub = CredentialServiceStub(channel)
        self._metadata = (
            ((SUBJECT_KEY, "user:somebody"), (TENANT_KEY, for_tenant)) if for_tenant else ()
        )

    async def put(self, name: str, **auth: Any) -> ServiceCredential:
        wanted = ServiceCredential(name=name, **auth)
        return await self._stub.PutServiceCredential(
            PutServiceCredentialRequest(service_credential=wanted)
        )

    async def get(self, name: str) -> ServiceCredential:
        return await self._stub.GetServiceCredential(GetServiceCredentialRequest(name=name))

    async def page(self, size: int, token: str = "") -> tuple[list[ServiceCredential], str]:
        request = ListServiceCredentialsRequest(page_size=size, page_token=token)
        answer = await self._stub.ListServiceCredentials(request)
        return list(answer.service_credentials), answer.next_page_token

    async def delete(self, name: str) -> None:
        await self._stub.DeleteServiceCredential(DeleteServiceCredentialRequest(name=name))

    async def resolve(self, name: str) -> ServiceCredential:
        request = ResolveServiceCredentialRequest(name=name)
        return await self._stub.ResolveServiceCredential(request, metadata=self._metadata)


async def service(auth: Replica, served: Served, name: str, for_tenant: str) -> Caller:
    """Call as a service of the mesh."""
    key = await auth.key("service", tenant="mesh", subject=f"service:{name}")
    return Caller(served.channel(key), for_tenant)


def without_secret(credential: ServiceCredential) -> ServiceCredential:
    """Return a credential as anybody may see it."""
    bare = ServiceCredential()
    bare.CopyFrom(credential)
    kind = bare.WhichOneof("auth")
    if kind:
        getattr(bare, kind).ClearField(SECRET_FIELDS[kind])
    return bare
