"""Protos, services, gateway routes and deployment speak of the same things."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from mesh.common.v1 import error_reason_pb2, options_pb2
from meshkit.errors import DomainError
from meshkit.security.rules import rules_of

ROOT = Path(__file__).parent.parent.parent
PROTOS = ROOT / "protos"
SERVICE_PROTOS = sorted((PROTOS / "mesh").rglob("*_service.proto"))
SERVICES = sorted(
    path.name for path in (ROOT / "services").iterdir() if (path / "__main__.py").exists()
)


def declared_services() -> list[ServiceDescriptor]:
    """Every gRPC service that the protos declare."""
    found: list[ServiceDescriptor] = []
    for proto in SERVICE_PROTOS:
        path = str(proto.relative_to(PROTOS))
        import_module(path.removesuffix(".proto").replace("/", ".") + "_pb2")
        found += descriptor_pool.Default().FindFileByName(path).services_by_name.values()
    return found


METHODS = [method for service in declared_services() for method in service.methods]


def test_every_proto_package_is_a_service_and_the_other_way_round() -> None:
    packages = {path.parent.parent.name for path in SERVICE_PROTOS}
    assert packages == set(SERVICES)


def test_every_service_runs_in_the_compose_file() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text())
    commands = {
        name: part["command"] for name, part in compose["services"].items() if "command" in part
    }
    assert set(SERVICES) <= set(commands)
    for service in SERVICES:
        assert commands[service] == ["python", "-m", f"services.{service}"]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_rpc_declares_who_may_call_it(method: MethodDescriptor) -> None:
    rules = rules_of([method.containing_service.full_name])
    rule = rules[f"/{method.containing_service.full_name}/{method.name}"]
    assert rule.public or re.fullmatch(r"[a-z]+:[a-z]+", rule.permission)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_rpc_has_a_route_unless_its_caller_streams_or_is_a_service(
    method: MethodDescriptor,
) -> None:
    has_route = method.GetOptions().HasExtension(annotations_pb2.http)
    permission = method.GetOptions().Extensions[options_pb2.auth].permission
    for_services = permission.startswith("mesh:")
    assert not (has_route and method.client_streaming)
    assert has_route or method.client_streaming or for_services


def test_routes_are_distinct_and_below_the_api_prefix() -> None:
    routes = [
        (rule.WhichOneof("pattern"), getattr(rule, rule.WhichOneof("pattern")))
        for method in METHODS
        if method.GetOptions().HasExtension(annotations_pb2.http)
        for rule in [method.GetOptions().Extensions[annotations_pb2.http]]
    ]
    assert all(path.startswith("/api/v1/") for _, path in routes)
    assert len(set(routes)) == len(routes)


@pytest.mark.parametrize("service", declared_services(), ids=lambda service: service.full_name)
def test_every_rpc_has_its_own_body(service: ServiceDescriptor) -> None:
    """No RPC is inherited from the generated servicer, where it would answer UNIMPLEMENTED."""
    folder = ROOT / "services" / service.full_name.split(".")[1]
    sources = [folder / "servicer.py", *sorted((folder / "servicer").glob("*.py"))]
    text = "\n".join(source.read_text() for source in sources if source.exists())
    for method in service.methods:
        assert f"async def {method.name}(" in text


def test_every_reason_that_code_gives_is_in_the_contract() -> None:
    for service in SERVICES:
        import_module(f"services.{service}.errors")
    names = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    known = {name.removeprefix("ERROR_REASON_") for name in names}
    for error in _descendants(DomainError):
        assert error.reason in known, error


def _descendants(parent: type[DomainError]) -> list[type[DomainError]]:
    children = parent.__subclasses__()
    return children + [below for child in children for below in _descendants(child)]
