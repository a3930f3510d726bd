"""What makes sense as a proof, and how proofs are stored."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from meshkit.errors import InvalidArgument
from services.auth.domain.proofs import (
    KINDS,
    BearerToken,
    ClientCertificate,
    HeaderKey,
    NoProof,
    OAuth2ClientCredentials,
    Proof,
    checked,
    kind_of,
    proof_of,
    settings_of,
)
from tests.certificates import certificate, new_key, private_key

URL = "https://login.example.com:8443/token?tenant=a"
KEY = new_key()
CHAIN = certificate(KEY)
RSA_KEY = rsa.generate_private_key(65537, 2048)


def oauth2(url: str = URL, *scopes: str) -> Proof:
    return OAuth2ClientCredentials(url, "client", scopes)


GOOD: list[tuple[Proof, str]] = [
    (NoProof(), ""),
    (HeaderKey("X-API-Key"), "ApiKey s3cr+t/="),
    (BearerToken(), "ab.cd-_~+/="),
    (oauth2(URL, "read", "https://example.com/.default"), "any thing"),
    (ClientCertificate(CHAIN), private_key(KEY)),
    (ClientCertificate(certificate(RSA_KEY)), private_key(RSA_KEY)),
]
BAD: list[tuple[Proof, str, str]] = [
    (HeaderKey("x api key"), "k", "api_key.header"),
    (HeaderKey("x:\r\ny"), "k", "api_key.header"),
    (HeaderKey("x-key\n"), "k", "api_key.header"),
    (HeaderKey("x-key"), "a\r\nhost: evil", "api_key.key"),
    (HeaderKey("x-key"), "secret\n", "api_key.key"),
    (HeaderKey("x-key"), "schlüssel", "api_key.key"),
    (BearerToken(), "two words", "bearer.token"),
    (BearerToken(), "token\n", "bearer.token"),
    *(
        (oauth2(url), "s", "oauth2.token_url")
        for url in (
            "http://login.example.com/token",
            "login.example.com/token",
            "https://",
            "https:///token",
            "https://user:password@login.example.com/",
            "https://login.example.com/#part",
            "https://login.example.com/a b",
            "https://login.example.com/\n",
            "https://login.example.com:port/",
            "https://login.example.com:0/",
            "https://[::1/",
        )
    ),
    (oauth2(URL, "read", "two words"), "s", "oauth2.scopes[1]"),
    (oauth2(URL, 'quo"ted'), "s", "oauth2.scopes[0]"),
    (ClientCertificate("no PEM"), private_key(KEY), "mtls.certificate_chain"),
    (ClientCertificate(private_key(KEY)), private_key(KEY), "mtls.certificate_chain"),
    (ClientCertificate(CHAIN.replace("M", "N")), private_key(KEY), "mtls.certificate_chain"),
    (ClientCertificate(CHAIN), "no PEM", "mtls.private_key"),
    (ClientCertificate(CHAIN), CHAIN, "mtls.private_key"),
    (ClientCertificate(CHAIN), private_key(new_key()), "mtls.private_key"),
    (ClientCertificate(CHAIN), private_key(KEY, "password"), "mtls.private_key"),
    (ClientCertificate(certificate(new_key()) + CHAIN), private_key(KEY), "mtls.private_key"),
]


@pytest.mark.parametrize(("proof", "secret"), GOOD, ids=lambda each: type(each).__name__)
def test_what_makes_sense_is_kept_as_it_is(proof: Proof, secret: str) -> None:
    assert checked(proof, secret) == proof
    assert proof_of(kind_of(proof), settings_of(proof)) == proof


def test_there_is_an_example_of_every_kind() -> None:
    assert {kind_of(proof) for proof, _ in GOOD} == KINDS.keys()


@pytest.mark.parametrize(("proof", "secret", "field"), BAD)
def test_what_makes_none_is_refused_by_its_field_without_the_secret(
    proof: Proof, secret: str, field: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        checked(proof, secret)
    assert [each.field for each in refused.value.violations] == [f"service_credential.{field}"]
    assert refused.value.__cause__ is None
    if len(secret) > 1:
        assert secret not in refused.value.message


def test_a_private_key_among_the_certificates_is_not_kept() -> None:
    above = certificate(new_key(), "authority")
    proof = ClientCertificate(f"# mine\n{private_key(KEY)}{CHAIN}\n{above}")
    assert checked(proof, private_key(KEY)) == ClientCertificate(CHAIN + above)
