"""A stand-in for a service or the gateway: quick to start, and broken when a test likes.

Every stand-in appends what happens to it to $STANDIN_DIR/history, and exits with 7 at its
start while there is a file $STANDIN_DIR/<name>.broken. While there is <name>.stubborn, it
ignores SIGTERM. With <name>.unleashed at its start, it outlives its supervisor: none is sent to
it at the supervisor's end.
"""

import asyncio
import ctypes
import http.server
import json
import os
import signal
import sys
import threading
from pathlib import Path

DIRECTORY = Path(os.environ["STANDIN_DIR"])
PR_SET_PDEATHSIG = 1


def run(name: str) -> None:
    """Be the service, the gateway or auth's offline command."""
    if sys.argv[1:2] == ["create-key"]:
        _create_key(sys.argv)
        return
    _note(name, "started")
    if (DIRECTORY / f"{name}.broken").exists():
        print(f"{name}: what it was told to say before it broke")  # noqa: T201 - for its log
        sys.exit(7)
    if (DIRECTORY / f"{name}.unleashed").exists() and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)
    asyncio.run(_serve_http(name) if name == "gateway" else _serve_grpc(name))
    _note(name, "stopped")


def _create_key(arguments: list[str]) -> None:
    print(json.dumps({"event": "migrated"}))  # noqa: T201 - a log line before the answers
    for options in " ".join(arguments[2:]).split(" -- "):
        _note("auth", f"create-key {options}")
        name = options.split()[1]
        print(json.dumps({"id": "1", "name": name, "secret": f"mesh_{name}"}))  # noqa: T201 - the answer


async def _serve_grpc(name: str) -> None:
    # Only here: it takes most of the time of a start.
    import grpc  # noqa: PLC0415
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # noqa: PLC0415

    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(f"127.0.0.1:{os.environ['AGENTMESH_GRPC__PORT']}")
    await server.start()
    await _terminated(name)
    await server.stop(0)


async def _serve_http(name: str) -> None:
    address = (
        os.environ["AGENTMESH_GATEWAY__HOST"],
        int(os.environ["AGENTMESH_GATEWAY__PORT"]),
    )
    server = http.server.HTTPServer(address, _Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    await _terminated(name)
    server.shutdown()


class _Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def _terminated(name: str) -> None:
    terminated = asyncio.Event()

    def on_signal() -> None:
        if (DIRECTORY / f"{name}.stubborn").exists():
            _note(name, "would not stop")
        else:
            terminated.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_signal)
    await terminated.wait()


def _note(name: str, what: str) -> None:
    with (DIRECTORY / "history").open("a") as history:
        history.write(f"{name} {what}\n")
