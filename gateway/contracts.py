"""What the contracts declare: services, their RPCs, and the HTTP bindings of each RPC.

Read from the descriptors inside the generated stubs, so that neither protoc nor the
`.proto` files are needed at run time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import (
    Descriptor,
    FileDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)
from google.rpc import error_details_pb2, status_pb2

from mesh.analytics.v1 import analytics_service_pb2
from mesh.auth.v1 import (
    audit_service_pb2,
    auth_service_pb2,
    credential_service_pb2,
    guard_service_pb2,
    rate_limit_service_pb2,
    role_service_pb2,
    user_service_pb2,
)
from mesh.registry.v1 import registry_service_pb2
from mesh.task.v1 import (
    blob_service_pb2,
    bulk_service_pb2,
    dispatch_service_pb2,
    queue_service_pb2,
    task_service_pb2,
)
from mesh.tool_catalog.v1 import tool_catalog_service_pb2

CONTRACTS: dict[str, tuple[FileDescriptor, ...]] = {
    "registry": (registry_service_pb2.DESCRIPTOR,),
    "task": (
        task_service_pb2.DESCRIPTOR,
        dispatch_service_pb2.DESCRIPTOR,
        queue_service_pb2.DESCRIPTOR,
        bulk_service_pb2.DESCRIPTOR,
        blob_service_pb2.DESCRIPTOR,
    ),
    "auth": (
        auth_service_pb2.DESCRIPTOR,
        user_service_pb2.DESCRIPTOR,
        role_service_pb2.DESCRIPTOR,
        rate_limit_service_pb2.DESCRIPTOR,
        audit_service_pb2.DESCRIPTOR,
        credential_service_pb2.DESCRIPTOR,
        guard_service_pb2.DESCRIPTOR,
    ),
    "tool_catalog": (tool_catalog_service_pb2.DESCRIPTOR,),
    "analytics": (analytics_service_pb2.DESCRIPTOR,),
}
"""The service files that each peer implements, by the peer's name in the settings."""

# Error details travel as `Any`; Envoy prints only types that it finds in the descriptor set.
DETAIL_FILES = (status_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR)

HTTP_VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True)
class Service:
    """A gRPC service and the peer that implements it."""

    peer: str
    descriptor: ServiceDescriptor

    @property
    def name(self) -> str:
        """Full name, for example `mesh.task.v1.TaskService`."""
        return str(self.descriptor.full_name)

    def methods(self) -> list[MethodDescriptor]:
        """List the RPCs in the order of the contract."""
        return list(self.descriptor.methods)


@dataclass(frozen=True)
class Binding:
    """One way to call an RPC over HTTP."""

    peer: str
    rpc: MethodDescriptor
    verb: str
    """HTTP method in capitals."""
    template: str
    """Path template, for example `/api/v1/tasks/{task_id}:cancel`."""
    body: str
    """Request field that the body holds, `*` for the whole request, empty for no body."""

    @property
    def streams_response(self) -> bool:
        """Whether the RPC answers with a stream."""
        return bool(self.rpc.server_streaming)

    @property
    def request(self) -> Descriptor:
        """The RPC's request message."""
        return self.rpc.input_type


def services() -> list[Service]:
    """List every service of every contract."""
    return [
        Service(peer, descriptor)
        for peer, files in CONTRACTS.items()
        for file in files
        for descriptor in file.services_by_name.values()
    ]


def bindings() -> list[Binding]:
    """List every HTTP binding of every contract, additional bindings included."""
    return [
        binding
        for service in services()
        for rpc in service.methods()
        for binding in bindings_of(service.peer, rpc)
    ]


def bindings_of(peer: str, rpc: MethodDescriptor) -> Iterator[Binding]:
    """Yield the HTTP bindings of one RPC; none, if it is gRPC only."""
    options = rpc.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    rule = options.Extensions[annotations_pb2.http]
    for binding in (rule, *rule.additional_bindings):
        verb, template = verb_and_template(binding)
        yield Binding(peer, rpc, verb, template, binding.body)


def verb_and_template(rule: http_pb2.HttpRule) -> tuple[str, str]:
    """Give the HTTP method and path template of a rule.

    Raises:
        ValueError: the rule names a custom method, or none.
    """
    pattern = rule.WhichOneof("pattern")
    if pattern not in HTTP_VERBS:
        raise ValueError(f"HTTP rule needs one of {', '.join(HTTP_VERBS)}: {rule}")
    return pattern.upper(), getattr(rule, pattern)


def descriptor_set() -> bytes:
    """Serialize the files of all contracts with all they import, dependencies first."""
    roots = [file for files in CONTRACTS.values() for file in files]
    found: dict[str, FileDescriptor] = {}
    collect((*roots, *DETAIL_FILES), found)
    files = descriptor_pb2.FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(files.file.add())
    return files.SerializeToString(deterministic=True)


def collect(files: Iterable[FileDescriptor], found: dict[str, FileDescriptor]) -> None:
    """Add files to `found`, each after the files it imports."""
    for file in files:
        if file.name not in found:
            collect(file.dependencies, found)
            found[file.name] = file
