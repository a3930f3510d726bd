"""A real gateway (the process, with Envoy) in front of a real gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from grpc import aio

from tests.integration.gateway.backend import Backend, serving

# envoy-data-plane declares validators in a way that pydantic 2.12 deprecates.
THEIR_WARNING = "ignore:Using `@model_validator` with mode='after' on a classmethod"
# Reading the certificates of the system for each client would take most of the tests' time.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 60.0
WAIT_SECONDS = 30.0


def pytest_configure(config: pytest.Config) -> None:
    """Let envoy-data-plane be imported although warnings are errors."""
    config.addinivalue_line("filterwarnings", THEIR_WARNING)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Hold a port that refuses connections: bound, but not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@dataclass
class Gateway:
    """A running `python -m gateway`."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


def environment(**variables: object) -> dict[str, str]:
    """The environment of a gateway process: this one's, without settings but those given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AGENTMESH")}
    python_path = f"{ROOT}{os.pathsep}{ROOT / 'libs'}"
    return {**clean, "PYTHONPATH": python_path} | {
        f"AGENTMESH_{name}": str(value) for name, value in variables.items()
    }


@contextlib.contextmanager
def running_gateway(directory: Path, **variables: object) -> Iterator[Gateway]:
    """Run a gateway on free ports until the block ends; `variables` are its settings."""
    port = free_port()
    ports = {"GATEWAY__PORT": port, "GATEWAY__ADMIN_PORT": free_port()}
    log = directory / f"gateway-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"],
            cwd=directory,
            env=environment(**{**ports, **variables}),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        gateway = Gateway(process, port, log)
        try:
            until_healthy(gateway)
            yield gateway
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def until_healthy(gateway: Gateway) -> None:
    """Wait until the gateway answers; fail with its log if it ends before."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and gateway.process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{gateway.url}/healthz", verify=NO_CERTIFICATES).status_code == 200:
                return
        time.sleep(0.05)
    pytest.fail(f"the gateway did not start:\n{gateway.log.read_text()}")


def client(gateway: Gateway) -> httpx.AsyncClient:
    """Make a client of a gateway."""
    return httpx.AsyncClient(base_url=gateway.url, timeout=30, verify=NO_CERTIFICATES)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, within a bound."""
    async with asyncio.timeout(WAIT_SECONDS):
        # What is waited for happens in another process, which sets no event.
        while not condition():
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Ports:
    """Where the services are, or are not."""

    task: int
    refusing: int


@pytest.fixture(scope="session")
def ports() -> Iterator[Ports]:
    with refusing_port() as refusing:
        yield Ports(task=free_port(), refusing=refusing)


@pytest.fixture(scope="session")
def gateway(ports: Ports, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all tests that only send requests."""
    with running_gateway(
        tmp_path_factory.mktemp("gateway"),
        PEERS__TASK=f"127.0.0.1:{ports.task}",
        PEERS__REGISTRY=f"127.0.0.1:{ports.refusing}",
        GATEWAY__MAX_BODY_BYTES=200_000,
        GATEWAY__CORS_ORIGINS='["https://console.example.com"]',
        GATEWAY__REQUEST_SECONDS=30,
    ) as running:
        yield running


@pytest.fixture
async def backend(ports: Ports) -> AsyncIterator[Backend]:
    async with serving(ports.task) as running:
        yield running


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with client(gateway) as opened:
        yield opened


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(f"127.0.0.1:{gateway.port}") as opened:
        yield opened
