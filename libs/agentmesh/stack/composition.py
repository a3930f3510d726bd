"""What a mesh consists of: its processes, their ports, commands and environments."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from agentmesh.stack.orphans import MARK
from agentmesh.stack.ports import LOOPBACK, check_gateway_address, pick_free_ports
from agentmesh.stack.process import Program
from agentmesh.stack.readiness import grpc_is_ready, http_is_ready

GATEWAY: Final = "gateway"
SERVICES: Final = ("registry", "task", "auth", "tool_catalog", "analytics")
WILDCARDS: Final = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - recognised, not bound to

# What the stack decides. A user's own settings of these belong to another deployment; all
# other AGENTMESH_ variables, such as AGENTMESH_LOG__LEVEL, reach the processes.
DECIDED: Final = (
    "AGENTMESH_GRPC__HOST",
    "AGENTMESH_GRPC__PORT",
    "AGENTMESH_METRICS__",
    "AGENTMESH_DATABASE__URL",
    "AGENTMESH_PEERS__",
    "AGENTMESH_IDENTITY__API_KEY",
    "AGENTMESH_AUTH__MASTER_KEY",
    "AGENTMESH_GATEWAY__HOST",
    "AGENTMESH_GATEWAY__PORT",
    "AGENTMESH_GATEWAY__ADMIN_PORT",
    "AGENTMESH_GATEWAY__WORK_DIR",
)


def database_name(service: str) -> str:
    """Return the name of a service's database."""
    return f"agentmesh_{service}"


@dataclass(frozen=True)
class Ports:
    """The ports of one run, kept when a process is restarted."""

    gateway: int
    gateway_admin: int
    services: dict[str, int]
    metrics: dict[str, int]

    @classmethod
    def pick(cls, host: str, gateway: int) -> Self:
        """Pick free ports; `gateway` is the one wanted for the gateway, 0 for any.

        Raises StackError when the gateway's is taken.
        """
        check_gateway_address(host, gateway)
        chosen, admin, *others = pick_free_ports(2 + 2 * len(SERVICES))
        services, metrics = others[: len(SERVICES)], others[len(SERVICES) :]
        return cls(
            gateway=gateway or chosen,
            gateway_admin=admin,
            services=dict(zip(SERVICES, services, strict=True)),
            metrics=dict(zip(SERVICES, metrics, strict=True)),
        )


@dataclass(frozen=True)
class Composition:
    """Say how each process of one mesh is run."""

    host: str
    ports: Ports
    data_directory: Path
    gateway_work: Path
    database_url: Callable[[str], str]

    @property
    def url(self) -> str:
        """Return the URL by which this machine reaches the gateway."""
        host = self._reachable_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.ports.gateway}"

    def service(self, name: str, *, credentials: dict[str, str]) -> Program:
        """Say how a service is run; `credentials` are further variables of its environment."""
        port = self.ports.services[name]
        return Program(
            name=name,
            address=f"{LOOPBACK}:{port}",
            command=self.service_command(name),
            env=self.service_environment(name) | credentials,
            is_ready=partial(grpc_is_ready, LOOPBACK, port),
        )

    def service_command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of a service, by default that which serves."""
        # -P: the working directory must not be able to stand in for an installed package.
        return [sys.executable, "-P", "-m", f"services.{name}", *arguments]

    def service_environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service, without its credentials."""
        return self._environment() | {
            "AGENTMESH_GRPC__HOST": LOOPBACK,
            "AGENTMESH_GRPC__PORT": str(self.ports.services[name]),
            "AGENTMESH_METRICS__PORT": str(self.ports.metrics[name]),
            "AGENTMESH_DATABASE__URL": self.database_url(database_name(name)),
        }

    def gateway(self) -> Program:
        """Say how the gateway is run."""
        gateway = {
            "AGENTMESH_GATEWAY__HOST": self.host,
            "AGENTMESH_GATEWAY__PORT": str(self.ports.gateway),
            "AGENTMESH_GATEWAY__ADMIN_PORT": str(self.ports.gateway_admin),
            "AGENTMESH_GATEWAY__WORK_DIR": str(self.gateway_work),
        }
        return Program(
            name=GATEWAY,
            address=self.url,
            command=[sys.executable, "-P", "-m", GATEWAY],
            env=self._environment() | gateway,
            is_ready=partial(http_is_ready, self._reachable_host, self.ports.gateway),
        )

    @property
    def _reachable_host(self) -> str:
        return WILDCARDS.get(self.host, self.host)

    def _environment(self) -> dict[str, str]:
        # PG*: libraries read them in place of settings that a URL leaves out.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((*DECIDED, "PG"))
        }
        peers = {
            f"AGENTMESH_PEERS__{name.upper()}": f"{LOOPBACK}:{port}"
            for name, port in self.ports.services.items()
        }
        return inherited | peers | {"PYTHONUNBUFFERED": "1", MARK: str(self.data_directory)}
