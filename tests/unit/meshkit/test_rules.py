"""The rules that RPCs declare."""

from __future__ import annotations

import re

import pytest
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from gateway.contracts import CONTRACTS
from meshkit.security.rules import Rule, UnguardedMethod, rules_of
from services.auth.domain.roles import BUILT_IN, permissions_of

SERVICES = [
    service
    for files in CONTRACTS.values()
    for file in files
    for service in file.services_by_name.values()
]
AUTH = "/mesh.auth.v1.AuthService"

UNGUARDED = text_format.Parse(
    """
name: "tests/unguarded.proto" package: "tests.unguarded" syntax: "proto3"
dependency: "mesh/common/v1/options.proto"
message_type { name: "M" }
service { name: "Nothing" method { name: "Do" input_type: "M" output_type: "M" } }
service { name: "Empty" method { name: "Do" input_type: "M" output_type: "M"
  options { [mesh.common.v1.auth] { audit: true } } } }
service { name: "Both" method { name: "Do" input_type: "M" output_type: "M"
  options { [mesh.common.v1.auth] { public: true permission: "a:b" } } } }
""",
    FileDescriptorProto(),
)
descriptor_pool.Default().AddSerializedFile(UNGUARDED.SerializeToString())


def test_every_method_of_every_service_has_its_rule() -> None:
    rules = rules_of(each.full_name for each in SERVICES)

    assert len(rules) == sum(len(each.methods) for each in SERVICES)
    public = {method for method, rule in rules.items() if rule.public}
    users = "/mesh.auth.v1.UserService"
    assert public == {
        *(f"{AUTH}/{name}" for name in ("ExchangeToken", "GetJwks")),
        *(f"{users}/{name}" for name in ("Login", "Logout", "RefreshToken", "ResetPassword")),
    }
    for method in rules.keys() - public:
        assert re.fullmatch(r"[a-z]+:[a-z]+", rules[method].permission), method
    assert rules[f"{AUTH}/CreateApiKey"] == Rule("key:create", public=False, audit=True)


def test_every_permission_of_a_role_is_one_that_some_method_asks_for() -> None:
    asked = {rule.permission for rule in rules_of(each.full_name for each in SERVICES).values()}
    nouns = {permission.partition(":")[0] for permission in asked}
    for role in BUILT_IN:
        for permission in set(permissions_of([role])) - {"*", "mesh:delegate", "mesh:tenants"}:
            noun, _, verb = permission.partition(":")
            assert noun in nouns if verb == "*" else permission in asked, (role, permission)


@pytest.mark.parametrize("service", ["Nothing", "Empty", "Both"])
def test_a_method_without_a_clear_rule_is_refused(service: str) -> None:
    with pytest.raises(UnguardedMethod, match=rf"tests\.unguarded\.{service}\.Do must declare"):
        rules_of([f"tests.unguarded.{service}"])
