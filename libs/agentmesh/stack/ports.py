"""Which TCP ports the processes of a mesh listen on."""

import errno
import ipaddress
import random
import socket

import psutil

from agentmesh.stack.errors import StackError

# Below the ports that Linux and macOS hand to outgoing connections, which could otherwise
# take a service's port while it restarts.
PRIVATE_PORTS = range(20_000, 32_000)
LOOPBACK = "127.0.0.1"
HOST_REMEDY = "name an IP address of this machine with --host, such as 127.0.0.1 or 0.0.0.0"


def pick_free_ports(count: int) -> list[int]:
    """Return some ports of the loopback address on which nothing listens.

    Raises StackError when there aren't as many.
    """
    free: list[int] = []
    for port in random.sample(PRIVATE_PORTS, len(PRIVATE_PORTS)):
        if len(free) == count:
            return free
        if _why_not(LOOPBACK, port) is None:
            free.append(port)
    raise StackError(
        f"no {count} free ports between {PRIVATE_PORTS[0]} and {PRIVATE_PORTS[-1]}",
        "stop other programs that listen on so many of them",
    )


def check_gateway_address(host: str, port: int) -> None:
    """Raise StackError, with the remedy, unless the gateway will be able to listen there."""
    error = _why_not(_checked(host), port)
    if error is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise StackError(
            f"port {port} is in use{_by_whom(port)}",
            f"stop that program, or choose another port: --port {_beside(port)}",
        )
    if error.errno == errno.EACCES:
        raise StackError(
            f"port {port} is not open to ordinary users",
            "choose a port from 1024 up, for example --port 8080",
        )
    raise StackError(
        f"the gateway cannot listen on {host}: {error.strerror}",
        HOST_REMEDY,
    )


def _checked(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise StackError(f"{host!r} is not an IP address", HOST_REMEDY) from None


def _why_not(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            return error
    return None


def _beside(port: int) -> int:
    return port + 1 if port < 65_535 else 8080


def _by_whom(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.pid
            # An address is a tuple, of host and port for TCP.
            if listens and tuple(connection.laddr)[1:2] == (port,):
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""
