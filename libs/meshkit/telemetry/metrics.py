"""The figures of calls: rate, errors and duration by method, for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from prometheus_client import REGISTRY, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meshkit.settings import MetricsSettings

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds in seconds; above the last there is one without."""

_BOUNDS: Final = (*map(str, map(float, BUCKETS)), "+Inf")


class MethodFigures:
    """The figures of one method, counted by the thread of the event loop alone.

    Attributes:
        running: Calls being served.
        ended: Calls ended, by the name of their code.
    """

    __slots__ = ("_buckets", "_seconds", "ended", "running")

    def __init__(self) -> None:
        self.running = 0
        self.ended: Counter[str] = Counter()
        self._seconds = 0.0
        self._buckets = [0] * len(_BOUNDS)

    def count(self, code: str, seconds: float) -> None:
        """Count a call that has ended."""
        self.ended[code] += 1
        self._seconds += seconds
        self._buckets[bisect_left(BUCKETS, seconds)] += 1

    def durations(self) -> tuple[list[tuple[str, float]], float]:
        """Return how many calls took up to each bound, and the seconds of all."""
        return list(zip(_BOUNDS, accumulate(self._buckets), strict=True)), self._seconds


class CallFigures(Collector):
    """The figures of all calls, as plain numbers that Prometheus's reader collects.

    Its own counters lock at each step, for which an event loop has no use.
    """

    def __init__(self) -> None:
        self._methods: dict[str, MethodFigures] = {}

    def of(self, method: str) -> MethodFigures:
        """Return the figures of `/package.Service/Method`."""
        figures = self._methods.get(method)
        if figures is None:
            figures = self._methods[method] = MethodFigures()
        return figures

    def collect(self) -> Iterable[Metric]:
        """Yield all figures as they stand."""
        ended = CounterMetricFamily(
            "agentmesh_rpc_calls", "Calls ended.", labels=["method", "code"]
        )
        seconds = HistogramMetricFamily(
            "agentmesh_rpc_seconds", "Time from a call's start to its end.", labels=["method"]
        )
        running = GaugeMetricFamily(
            "agentmesh_rpc_running", "Calls being served.", labels=["method"]
        )
        for method, figures in list(self._methods.items()):
            for code, count in list(figures.ended.items()):
                ended.add_metric([method, code], count)
            buckets, total = figures.durations()
            seconds.add_metric([method], buckets, total)
            running.add_metric([method], figures.running)
        return [ended, seconds, running]


CALLS: Final = CallFigures()
"""The figures of this process."""

REGISTRY.register(CALLS)


def serve_metrics(settings: MetricsSettings) -> None:
    """Serve the process's figures over HTTP, unless the port is 0."""
    if settings.port:
        start_http_server(settings.port, settings.host)
