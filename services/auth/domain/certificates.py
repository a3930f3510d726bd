"""Client certificates and their private keys, as PEM."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificates

from meshkit.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate with those above it.

    Attributes:
        pem: The certificates and nothing else.
        public_key: That of the first, DER.
    """

    pem: str
    public_key: bytes


def certificates(pem: str, *, field: str) -> Chain:
    """Read a chain of certificates, the holder's own first.

    Raises:
        InvalidArgument: There is none, or one can't be read.
    """
    try:
        found = load_pem_x509_certificates(pem.encode())
        public_key = _der(found[0].public_key())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidArgument(
            "The certificate chain can't be read: send PEM, the client's own certificate first.",
            field=field,
        ) from None
    plain = b"".join(each.public_bytes(Encoding.PEM) for each in found)
    return Chain(plain.decode(), public_key)


def check_private_key(pem: str, chain: Chain, *, field: str) -> None:
    """Make sure that a private key is that of the first certificate.

    Raises:
        InvalidArgument: It is another one's, is encrypted, or can't be read.
    """
    try:
        # To look for a flaw in an RSA key takes seconds in which nothing else could be served;
        # that it is the certificate's is told by its public half.
        key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
        fits = _der(key.public_key()) == chain.public_key
    except TypeError:
        raise InvalidArgument(
            "The private key is encrypted: send it without a password.", field=field
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidArgument(
            "The private key can't be read: send PEM, PKCS#8 or as OpenSSL writes it.", field=field
        ) from None
    if not fits:
        raise InvalidArgument(
            "The private key does not fit the first certificate of the chain.", field=field
        )


def _der(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
