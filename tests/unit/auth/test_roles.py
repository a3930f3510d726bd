"""What roles allow, and what a token says of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from meshkit.security.permissions import allows
from meshkit.security.principal import Principal
from services.auth.domain.keys import ApiKey
from services.auth.domain.roles import BUILT_IN, permissions_of
from services.auth.errors import RoleUnknown
from services.auth.secrets import MasterKey
from services.auth.signing import Signer, new_signing_key, public_keys

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MASTER = MasterKey("m" * 32)


def test_roles_add_up() -> None:
    assert permissions_of(["admin"]) == ("*",)
    assert set(permissions_of(["viewer", "agent"])) == {
        *permissions_of(["viewer"]),
        *permissions_of(["agent"]),
    }
    assert permissions_of([]) == ()
    with pytest.raises(RoleUnknown, match="'emperor'; there are admin, agent, analyst") as unknown:
        permissions_of(["viewer", "emperor"])
    assert unknown.value.violations[0].field == "api_key.roles"


@pytest.mark.parametrize("role", sorted(BUILT_IN.keys() - {"service"}))
def test_only_a_service_acts_for_others(role: str) -> None:
    held = permissions_of([role])
    assert not any(allows(held, each) for each in ("mesh:delegate", "mesh:verify", "mesh:audit"))


def test_a_service_can_not_make_keys() -> None:
    held = permissions_of(["service"])
    assert not any(allows(held, f"key:{verb}") for verb in ("create", "read", "revoke"))


def test_a_key_works_until_it_is_revoked_or_expires() -> None:
    def key(expire: datetime | None = None, revoke: datetime | None = None) -> ApiKey:
        return ApiKey(
            id=None,  # type: ignore[arg-type]  # of no matter here
            tenant="",
            display_name="",
            roles=(),
            subject="",
            creator="",
            create_time=NOW,
            expire_time=expire,
            revoke_time=revoke,
        )

    assert key().works_at(NOW)
    assert key(expire=NOW + timedelta(microseconds=1)).works_at(NOW)
    assert not key(expire=NOW).works_at(NOW)
    assert not key(revoke=NOW - timedelta(days=1)).works_at(NOW)


@pytest.mark.parametrize(
    ("key_expires_in", "lifetime"), [(None, 600), (timedelta(hours=1), 600), (timedelta(0, 90), 90)]
)
def test_a_token_never_outlives_its_key(key_expires_in: timedelta | None, lifetime: int) -> None:
    stored = new_signing_key(MASTER, NOW, sign_time=NOW)
    signer = Signer(stored, MASTER, issuer="i", audience="a", lifetime=600)
    expires = NOW + key_expires_in if key_expires_in else None
    token = signer.sign(Principal("key:1", "acme", ("a:b", "c:*"), expires), NOW)

    assert token.lifetime == timedelta(seconds=lifetime)
    claims = jwt.decode(
        token.text,
        public_keys([stored])[stored.id],
        algorithms=["EdDSA"],
        issuer="i",
        audience="a",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["exp"] - claims["iat"] == lifetime
    assert (claims["sub"], claims["tenant"], claims["scope"]) == ("key:1", "acme", "a:b c:*")
