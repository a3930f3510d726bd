"""Runs Envoy until a signal or its end, and passes signals on."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import structlog

from gateway.errors import EnvoyEnded
from gateway.process import Envoy
from gateway.settings import GatewaySettings, PeerSettings

log = structlog.get_logger()

STOPPING = (signal.SIGTERM, signal.SIGINT)
# Envoy opens its log files anew.
FORWARDED = (signal.SIGUSR1,)


async def serve(settings: GatewaySettings, peers: PeerSettings, work_dir: Path) -> None:
    """Run the gateway until SIGTERM or SIGINT; drain on the first, stop at once on the second.

    Raises:
        GatewayError: Envoy could not start, or ended by itself.
    """
    stops: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, stops.put_nowait, number)
    envoy = await Envoy.start(settings, peers, work_dir)
    for number in FORWARDED:
        loop.add_signal_handler(number, envoy.send_signal, number)
    log.info("gateway ready", host=settings.host, port=settings.port, envoy_pid=envoy.pid)
    ended = asyncio.ensure_future(envoy.wait())
    try:
        if await first_of(ended, stops):
            raise EnvoyEnded(ended.result())
        log.info("gateway draining", seconds=settings.drain_seconds)
        drained = asyncio.ensure_future(envoy.drain())
        if not await first_of(drained, stops):
            drained.cancel()
    finally:
        await envoy.stop()
        await ended
    log.info("gateway stopped")


async def first_of(task: asyncio.Future[Any], stops: asyncio.Queue[int]) -> bool:
    """Wait for a task or for a signal; tell whether it was the task."""
    stop = asyncio.ensure_future(stops.get())
    try:
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
    return task.done()
