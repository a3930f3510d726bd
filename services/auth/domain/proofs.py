"""The ways to prove oneself to an external service; each has one secret, which is kept apart."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from meshkit.errors import InvalidArgument
from services.auth.domain.certificates import certificates, check_private_key

# RFC 9110, 5.6.2: what a header may be called.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What a header may say, without what could end it: spaces only inside.
_HEADER_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_TOKEN: Final = re.compile(r"[!-~]+")
# RFC 6749, 3.3.
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+")


@dataclass(frozen=True, slots=True)
class NoProof:
    """The service asks for nothing."""


@dataclass(frozen=True, slots=True)
class HeaderKey:
    """A key in a header."""

    header: str


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A bearer token."""


@dataclass(frozen=True, slots=True)
class OAuth2ClientCredentials:
    """A client's secret, exchanged for a token (RFC 6749, 4.4)."""

    token_url: str
    client_id: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate and those above it, PEM."""

    certificate_chain: str


Proof: TypeAlias = NoProof | HeaderKey | BearerToken | OAuth2ClientCredentials | ClientCertificate

KINDS: Final[dict[str, type[Proof]]] = {
    "none": NoProof,
    "api_key": HeaderKey,
    "bearer": BearerToken,
    "oauth2": OAuth2ClientCredentials,
    "mtls": ClientCertificate,
}
"""What each kind of proof is called where it is stored; as in the contract."""

_NAMES: Final = {proof: name for name, proof in KINDS.items()}


def kind_of(proof: Proof) -> str:
    """Return what the kind of a proof is called."""
    return _NAMES[type(proof)]


def settings_of(proof: Proof) -> dict[str, Any]:
    """Return all of a proof that is no secret, as JSON has it."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(proof).items()
    }


def proof_of(kind: str, settings: dict[str, Any]) -> Proof:
    """Undo `kind_of` and `settings_of`."""
    make: Callable[..., Proof] = KINDS[kind]
    return make(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings.items()
        }
    )


def checked(proof: Proof, secret: str) -> Proof:
    """Return a proof as it is to be kept, if it makes sense with its secret.

    Of a certificate chain it keeps the certificates, and nothing that stands between them.

    Raises:
        InvalidArgument: It doesn't; the error names the field and quotes no secret.
    """
    match proof:
        case HeaderKey(header):
            _require(_HEADER_NAME, header, "api_key.header", "a header can't be called so")
            _require(_HEADER_VALUE, secret, "api_key.key", "a header can't hold it")
        case BearerToken():
            _require(_TOKEN, secret, "bearer.token", "a token has no spaces and is ASCII")
        case OAuth2ClientCredentials(token_url, _, scopes):
            _check_token_url(token_url)
            for place, scope in enumerate(scopes):
                _require(_SCOPE, scope, f"oauth2.scopes[{place}]", "no scope reads so")
        case ClientCertificate(chain):
            found = certificates(chain, field=_field("mtls.certificate_chain"))
            check_private_key(secret, found, field=_field("mtls.private_key"))
            return replace(proof, certificate_chain=found.pem)
    return proof


def _require(pattern: re.Pattern[str], text: str, field: str, problem: str) -> None:
    if not pattern.fullmatch(text):
        raise InvalidArgument(f"This is not accepted: {problem}.", field=_field(field))


def _check_token_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        whole = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or not _TOKEN.fullmatch(url) or "#" in url or "@" in urlsplit(url).netloc:
        raise InvalidArgument(
            "The token URL must read https://host/path, without user, password or fragment.",
            field=_field("oauth2.token_url"),
        )


def _field(name: str) -> str:
    return f"service_credential.{name}"
