"""The figures of calls: rate, errors and duration by method, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from meshkit.settings import MetricsSettings

CALLS = Counter("agentmesh_rpc_calls", "Calls ended.", ["method", "code"])
CALL_SECONDS = Histogram(
    "agentmesh_rpc_seconds",
    "Time from a call's start to its end.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
CALLS_RUNNING = Gauge("agentmesh_rpc_running", "Calls being served.", ["method"])


def serve_metrics(settings: MetricsSettings) -> None:
    """Serve the process's figures over HTTP, unless the port is 0."""
    if settings.port:
        start_http_server(settings.port, settings.host)
