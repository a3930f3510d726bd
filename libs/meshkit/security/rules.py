"""The permission that each RPC declares in its proto, read from the descriptors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from mesh.common.v1 import options_pb2


class UnguardedMethod(Exception):
    """A served method declares no rule, so the server must not start."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a caller must hold to call a method.

    Attributes:
        permission: `noun:verb`; empty only for a public method.
        public: Whether no credential is asked for.
        audit: Whether the decision belongs in the audit log.
    """

    permission: str
    public: bool
    audit: bool


def rules_of(services: Iterable[str]) -> dict[str, Rule]:
    """Map each method of the services, as `/package.Service/Method`, to its rule.

    Raises:
        UnguardedMethod: If a method has neither a permission nor is public.
    """
    pool = descriptor_pool.Default()
    return {
        f"/{service}/{method.name}": _rule(method)
        for service in services
        for method in pool.FindServiceByName(service).methods
    }


def _rule(method: MethodDescriptor) -> Rule:
    declared = method.GetOptions().Extensions[options_pb2.auth]
    if bool(declared.permission) == declared.public:
        raise UnguardedMethod(
            f"{method.full_name} must declare either a permission or public"
            " in its option mesh.common.v1.auth"
        )
    return Rule(declared.permission, declared.public, declared.audit)
