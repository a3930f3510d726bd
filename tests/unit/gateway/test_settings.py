"""What the environment says to the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Endpoint, GatewaySettings, Settings, explain, parse_endpoint


def test_defaults_stay_on_this_machine() -> None:
    gateway = Settings().gateway
    assert (gateway.host, gateway.port, gateway.cors_origins) == ("127.0.0.1", 8080, [])


def test_fields_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMESH_GATEWAY__PORT", "9000")
    monkeypatch.setenv("AGENTMESH_GATEWAY__WORK_DIR", "work")
    monkeypatch.setenv("AGENTMESH_GATEWAY__CORS_ORIGINS", '["https://a.example"]')
    monkeypatch.setenv("AGENTMESH_PEERS__TOOL_CATALOG", "tools:7000")
    monkeypatch.setenv("AGENTMESH_PEERS__TIMEOUT", "3")
    settings = Settings()
    assert settings.gateway.port == 9000
    assert settings.gateway.work_dir == Path("work")
    assert settings.gateway.cors_origins == ["https://a.example"]
    assert settings.peers.endpoints()["tool_catalog"] == Endpoint("tools", 7000)
    assert set(settings.peers.endpoints()) == {
        "registry",
        "task",
        "auth",
        "tool_catalog",
        "analytics",
    }


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("task:50052", Endpoint("task", 50052)),
        ("10.0.0.1:1", Endpoint("10.0.0.1", 1)),
        ("[::1]:65535", Endpoint("::1", 65535)),
    ],
)
def test_addresses(address: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(address) == endpoint


@pytest.mark.parametrize("address", ["", "task", "task:", ":1", "task:0", "task:65536", "task:x"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ValueError, match="write host:port"):
        parse_endpoint(address)


def test_the_gateway_listens_on_addresses_not_names() -> None:
    assert GatewaySettings(host="::1").host == "::1"
    with pytest.raises(ValidationError, match="not an IP address"):
        GatewaySettings(host="localhost")


def test_a_fault_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMESH_PEERS__AUTH", "nowhere")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain(caught.value).startswith("AGENTMESH_PEERS__AUTH: ")
    assert "for example 127.0.0.1:50051" in explain(caught.value)
