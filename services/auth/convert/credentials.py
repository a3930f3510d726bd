"""Between the messages of service credentials and their domain."""

from __future__ import annotations

from mesh.auth.v1 import credential_pb2
from meshkit.timestamps import to_timestamp
from services.auth.domain.credentials import ServiceCredential
from services.auth.domain.proofs import (
    BearerToken,
    ClientCertificate,
    HeaderKey,
    NoProof,
    OAuth2ClientCredentials,
    Proof,
)


def proof_from_proto(message: credential_pb2.ServiceCredential) -> tuple[Proof, str]:
    """Decode how to prove oneself, and the secret that goes with it; empty if none does."""
    match message.WhichOneof("auth"):
        case "api_key":
            return HeaderKey(message.api_key.header), message.api_key.key
        case "bearer":
            return BearerToken(), message.bearer.token
        case "oauth2":
            oauth2 = message.oauth2
            return (
                OAuth2ClientCredentials(oauth2.token_url, oauth2.client_id, tuple(oauth2.scopes)),
                oauth2.client_secret,
            )
        case "mtls":
            return ClientCertificate(message.mtls.certificate_chain), message.mtls.private_key
        case None:
            return NoProof(), ""


def credential_to_proto(
    credential: ServiceCredential, secret: str = ""
) -> credential_pb2.ServiceCredential:
    """Encode a credential, with its secret only where one is given."""
    message = credential_pb2.ServiceCredential(
        name=credential.name,
        create_time=to_timestamp(credential.create_time),
        update_time=to_timestamp(credential.update_time),
    )
    match credential.proof:
        case HeaderKey(header):
            message.api_key.header = header
            message.api_key.key = secret
        case BearerToken():
            message.bearer.SetInParent()
            message.bearer.token = secret
        case OAuth2ClientCredentials(token_url, client_id, scopes):
            message.oauth2.token_url = token_url
            message.oauth2.client_id = client_id
            message.oauth2.client_secret = secret
            message.oauth2.scopes.extend(scopes)
        case ClientCertificate(chain):
            message.mtls.certificate_chain = chain
            message.mtls.private_key = secret
    return message
