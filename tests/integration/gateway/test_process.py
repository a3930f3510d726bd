"""The life of the gateway's process: validate, start, drain, end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gateway.__main__ import main
from tests.integration.gateway.backend import serving
from tests.integration.gateway.conftest import (
    client,
    environment,
    eventually,
    free_port,
    running_gateway,
)


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command in this process, with flags and settings, for its exit status."""

    def run(*arguments: str, **variables: object) -> int:
        for name, value in variables.items():
            monkeypatch.setenv(f"AGENTMESH_{name}", str(value))
        monkeypatch.setattr(sys, "argv", ["gateway", *arguments])
        return main()

    return run


def test_validate_takes_the_generated_configuration(
    flags: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert flags("--mode", "validate", GATEWAY__CORS_ORIGINS='["https://a.b"]') == 0
    assert "warning" not in capfd.readouterr().err


def test_validate_fails_when_envoy_does(flags: Callable[..., int]) -> None:
    assert flags("--mode", "validate", GATEWAY__ENVOY_PATH="/bin/false") == 1


def test_print_config_gives_json(
    flags: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert flags("--print-config", GATEWAY__PORT=8123) == 0
    config = json.loads(capsys.readouterr().out)
    address = config["staticResources"]["listeners"][0]["address"]["socketAddress"]
    assert address == {"address": "127.0.0.1", "portValue": 8123}
    assert config["admin"]["address"]["socketAddress"]["address"] == "127.0.0.1"


def test_a_missing_binary_is_told_with_its_remedy(flags: Callable[..., int]) -> None:
    with pytest.raises(SystemExit, match="set AGENTMESH_GATEWAY__ENVOY_PATH"):
        flags("--mode", "validate", GATEWAY__ENVOY_PATH="/nowhere/envoy")


def test_a_wrong_setting_is_named(flags: Callable[..., int]) -> None:
    with pytest.raises(
        SystemExit, match=r"AGENTMESH_GATEWAY__PORT: (.|\n)*AGENTMESH_PEERS__TASK: "
    ):
        flags(PEERS__TASK="nowhere", GATEWAY__PORT=0)


def test_a_busy_port_is_named_with_its_remedy(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "gateway"],
            cwd=tmp_path,
            env=environment(GATEWAY__PORT=port),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"Port {port} on 127.0.0.1 is in use. Stop the program that listens there, "
        "or choose another port with AGENTMESH_GATEWAY__PORT.\n"
    )


async def test_drain_lets_a_running_request_finish(tmp_path: Path) -> None:
    port = free_port()
    peer = f"127.0.0.1:{port}"
    with running_gateway(tmp_path, PEERS__TASK=peer, GATEWAY__DRAIN_SECONDS=20) as gateway:
        async with serving(port) as backend, client(gateway) as http:
            running = asyncio.create_task(http.get("/api/v1/tasks/waits", timeout=20))
            await eventually(lambda: backend.calls)
            gateway.terminate()
            await eventually(lambda: refuses(gateway.port))
            assert not running.done()
            backend.go_on.set()
            assert (await running).json()["id"] == "waits"
        assert await asyncio.to_thread(gateway.process.wait, 10) == 0


async def test_drain_ends_in_time_and_streams_are_cut(tmp_path: Path) -> None:
    port = free_port()
    peer = f"127.0.0.1:{port}"
    with running_gateway(tmp_path, PEERS__TASK=peer, GATEWAY__DRAIN_SECONDS=0.2) as gateway:
        async with serving(port) as backend, client(gateway) as http:
            async with http.stream("GET", "/api/v1/tasks/t-1:watch") as response:
                assert response.status_code == 200
                gateway.terminate()
                assert await asyncio.to_thread(gateway.process.wait, 10) == 0
            async with asyncio.timeout(30):
                await backend.watch_ended.wait()


async def test_envoy_does_not_outlive_a_killed_gateway(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        envoy = psutil.Process(gateway.process.pid).children()[0]
        gateway.process.kill()
        await eventually(lambda: not envoy.is_running() or envoy.status() == psutil.STATUS_ZOMBIE)


async def test_a_gateway_whose_envoy_dies_ends_with_an_error(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        envoy = psutil.Process(gateway.process.pid).children()[0]
        os.kill(envoy.pid, signal.SIGKILL)
        assert await asyncio.to_thread(gateway.process.wait, 10) == 1
    assert "Envoy ended by signal 9" in gateway.log.read_text()


WATCHED = """
import asyncio, time
from gateway.lifeline import watch_from
async def main():
    child = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    await watch_from(child.pid)
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""


async def test_the_portable_watcher_ends_the_child_too() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WATCHED, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    await eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def refuses(port: int) -> bool:
    """Tell whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
