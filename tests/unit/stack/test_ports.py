"""Which ports a mesh can have."""

import socket

import pytest

from agentmesh.stack.errors import StackError
from agentmesh.stack.ports import LOOPBACK, PRIVATE_PORTS, check_gateway_address, pick_free_ports


def test_picked_ports_are_different_and_free() -> None:
    ports = pick_free_ports(12)
    assert len(set(ports)) == 12
    for port in ports:
        assert port in PRIVATE_PORTS
        check_gateway_address(LOOPBACK, port)


def test_a_busy_port_is_told_with_its_owner_and_the_remedy() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StackError, match=rf"port {port} is in use by .* \(pid") as failure:
            check_gateway_address(LOOPBACK, port)
    assert "--port" in failure.value.remedy


@pytest.mark.parametrize("host", ["nowhere", "", "1.2.3", "localhost"])
def test_a_host_is_an_ip_address(host: str) -> None:
    with pytest.raises(StackError, match="not an IP address"):
        check_gateway_address(host, 0)


def test_a_host_of_another_machine() -> None:
    with pytest.raises(StackError, match=r"cannot listen on 192\.0\.2\.1"):
        check_gateway_address("192.0.2.1", 0)
