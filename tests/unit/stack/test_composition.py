"""What the processes of a mesh are given."""

from pathlib import Path

import pytest

from agentmesh.stack.composition import SERVICES, Composition, Ports


@pytest.fixture
def composition() -> Composition:
    return Composition(
        host="0.0.0.0",  # noqa: S104 - nothing is bound here
        ports=Ports(
            gateway=8080,
            gateway_admin=9901,
            services={name: 20000 + number for number, name in enumerate(SERVICES)},
            metrics={name: 21000 + number for number, name in enumerate(SERVICES)},
        ),
        data_directory=Path("/data"),
        gateway_work=Path("/data/run/gateway"),
        database_url="postgresql+asyncpg://postgres@/{}".format,
    )


def test_every_service_knows_where_it_is_and_where_the_others_are(
    composition: Composition,
) -> None:
    env = composition.service("task", credentials={"AGENTMESH_IDENTITY__API_KEY": "mesh_x"}).env
    assert env["AGENTMESH_GRPC__PORT"] == "20001"
    assert env["AGENTMESH_METRICS__PORT"] == "21001"
    assert env["AGENTMESH_DATABASE__URL"].endswith("/agentmesh_task")
    assert env["AGENTMESH_PEERS__TOOL_CATALOG"] == "127.0.0.1:20003"
    assert env["AGENTMESH_IDENTITY__API_KEY"] == "mesh_x"


def test_settings_of_another_deployment_do_not_leak_in(
    composition: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMESH_IDENTITY__API_KEY", "mesh_of_another_mesh")
    monkeypatch.setenv("AGENTMESH_GATEWAY__PORT", "1")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("AGENTMESH_LOG__LEVEL", "DEBUG")
    env = composition.service("auth", credentials={}).env
    assert "AGENTMESH_IDENTITY__API_KEY" not in env
    assert "AGENTMESH_GATEWAY__PORT" not in env
    assert "PGPORT" not in env
    assert env["AGENTMESH_LOG__LEVEL"] == "DEBUG"


def test_a_gateway_open_to_the_network_is_reached_over_the_loopback(
    composition: Composition,
) -> None:
    assert composition.url == "http://127.0.0.1:8080"
    assert composition.gateway().env["AGENTMESH_GATEWAY__HOST"] == "0.0.0.0"  # noqa: S104 - a value
