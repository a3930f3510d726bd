"""Who calls, and for whom."""

from __future__ import annotations

import pytest

from meshkit.errors import PermissionDenied, Unauthenticated
from meshkit.interceptors.authenticate import credential_of
from meshkit.security.delegation import SUBJECT_KEY, TENANT_KEY, delegated, delegation_metadata
from meshkit.security.principal import (
    Principal,
    acting_for,
    current_or_none,
    current_principal,
)

SERVICE = Principal("service:task", "mesh", ("mesh:delegate", "agent:read"))
USER = Principal("key:1", "acme", ("*", "task:read"))


@pytest.mark.parametrize(
    ("metadata", "credential"),
    [
        ({"authorization": "Bearer abc"}, "abc"),
        ({"authorization": "bEARER  abc "}, "abc"),
        ({"x-api-key": " mesh_1 "}, "mesh_1"),
        ({"authorization": "Basic xyz", "x-api-key": "mesh_1"}, "mesh_1"),
        ({"authorization": "Bearer abc", "x-api-key": "mesh_1"}, "abc"),
        *(({"authorization": each}, None) for each in ("", "Bearer", "Bearer  ", "abc", "Basic x")),
        ({"x-api-key": " "}, None),
        ({}, None),
    ],
)
def test_a_credential_stands_in_either_header(
    metadata: dict[str, str], credential: str | None
) -> None:
    if credential is None:
        with pytest.raises(Unauthenticated, match="No credential") as missing:
            credential_of(metadata)
        assert missing.value.reason == "CREDENTIAL_MISSING"
    else:
        assert credential_of(metadata) == credential


def test_a_service_acts_for_whom_it_names() -> None:
    acting = delegated(SERVICE, dict(delegation_metadata(USER)))
    assert (acting.subject, acting.tenant, acting.actor) == ("key:1", "acme", "service:task")
    assert acting.permissions == SERVICE.permissions
    assert delegated(SERVICE, {TENANT_KEY: "acme"}).subject == "service:task"
    for principal in (SERVICE, USER):
        assert delegated(principal, {SUBJECT_KEY: "key:2"}) is principal


def test_nobody_else_does_not_even_who_may_all() -> None:
    for named in ("umbrella", "acme", ""):
        with pytest.raises(PermissionDenied, match="mesh:delegate"):
            delegated(USER, {TENANT_KEY: named})


def test_the_caller_is_known_within_its_block_only() -> None:
    with acting_for(USER):
        with acting_for(SERVICE):
            assert current_principal() is SERVICE
        assert current_or_none() is USER
    assert current_or_none() is None
    with pytest.raises(LookupError, match="no caller"):
        current_principal()
