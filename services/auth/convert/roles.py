"""Between messages of roles and their domain."""

from __future__ import annotations

from mesh.auth.v1 import role_pb2, role_service_pb2
from meshkit.errors import InvalidArgument
from meshkit.limits.messages import rate_limit_from_proto
from meshkit.timestamps import to_timestamp
from services.auth.convert.keys import limit_or_none
from services.auth.domain.roles import Binding, Grant, Role
from services.auth.usecases.permissions import Explanation


def role_to_proto(role: Role) -> role_pb2.Role:
    """Encode a role."""
    return role_pb2.Role(
        name=role.name,
        description=role.description,
        permissions=role.permissions,
        inherits=role.inherits,
        rate_limit=limit_or_none(role.rate_limit),
        built_in=role.built_in,
        create_time=to_timestamp(role.create_time),
        etag=f"{role.version:x}" if role.version else "",
    )


def role_from_proto(message: role_pb2.Role) -> Role:
    """Decode what a role is to be, and the version that it is to replace, if one is named.

    Raises:
        InvalidArgument: The etag is none that was given out.
    """
    try:
        version = int(message.etag, 16) if message.etag else 0
    except ValueError as error:
        raise InvalidArgument("Send the etag as it was given.", field="role.etag") from error
    return Role(
        name=message.name,
        description=message.description,
        permissions=tuple(message.permissions),
        inherits=tuple(message.inherits),
        rate_limit=(
            rate_limit_from_proto(message.rate_limit) if message.HasField("rate_limit") else None
        ),
        version=version,
    )


def binding_to_proto(binding: Binding) -> role_pb2.RoleBinding:
    """Encode a binding."""
    return role_pb2.RoleBinding(
        id=str(binding.id),
        subject=binding.subject,
        role=binding.role,
        creator=binding.creator,
        create_time=to_timestamp(binding.create_time),
    )


def explanation_to_proto(found: Explanation) -> role_service_pb2.ExplainPermissionResponse:
    """Encode why something is allowed or not."""
    return role_service_pb2.ExplainPermissionResponse(
        allowed=found.allowed,
        grants=[_grant_to_proto(grant) for grant in found.grants],
        explanation=found.words,
        would_allow=found.would_allow,
    )


def _grant_to_proto(grant: Grant) -> role_service_pb2.Grant:
    return role_service_pb2.Grant(
        role_binding_id=str(grant.binding_id) if grant.binding_id else "",
        roles=grant.roles,
        held=grant.held,
    )
